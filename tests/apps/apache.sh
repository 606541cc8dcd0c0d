#!/usr/bin/env bash
# Apache httpd: prefork and event, RSA and EC keys, graceful restarts, and its own certificate towards a backend.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs apache2 apache2
start_hsm
echo "$(apache2 -v | head -n 1), $(openssl version | cut -d' ' -f1,2)"
user=
if [ "$(id -u)" -eq 0 ]; then
    user=$'User www-data\nGroup www-data'
else
    skip "children of another user than the parent" "that needs root"
fi

modules() {
    local module
    for module; do echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"; done
}

# Starts httpd: start NAME MPM, with the rest of the configuration on stdin.
start() {
    mkdir -p "$work/$1/www"
    echo "keys in the HSM" >"$work/$1/www/index.html"
    {
        echo "ServerRoot $work/$1
ServerName localhost
PidFile $work/$1/pid
DefaultRuntimeDir $work/$1
Mutex file:$work/$1
LogLevel ssl:info
ErrorLog $work/$1/log
DocumentRoot $work/$1/www"
        modules "mpm_$2" authz_core dir socache_shmcb ssl proxy proxy_http
        echo "$user
StartServers 2
SSLSessionCache shmcb:$work/$1/sessions(512000)
SSLProtocol -all +TLSv1.2 +TLSv1.3
DirectoryIndex index.html"
        cat
    } >"$work/$1.conf"
    httpd "$1" start || return 1
    wait_until 10 test -s "$work/$1/pid" || return 1
    started "$(cat "$work/$1/pid")"
}

# httpd NAME start|graceful
httpd() {
    if ! with_provider apache2 -d "$work/$1" -f "$work/$1.conf" -k "$2" 2>"$work/$1.err"; then
        cat "$work/$1.err" "$work/$1/log"
        return 1
    fi
}

stop() { end_process "$(cat "$work/$1/pid")" WINCH && ! grep -E ':(emerg|alert|crit)\]|exit signal' "$work/$1/log"; }

restarted() { [ "$(grep -c 'resuming normal operations' "$work/$1/log")" -ge "$2" ]; }

restarts() {
    local i before good=yes
    begin_load page "$2"
    for i in 1 2 3; do
        more_load 10 || good=no
        before=$(grep -c 'resuming normal operations' "$work/$1/log")
        httpd "$1" graceful || good=no
        wait_until 30 restarted "$1" "$((before + 1))" || { echo "restart $i did not happen"; good=no; }
    done
    more_load 10 || good=no
    end_load 1 && [ "$good" = yes ]
}

for mpm in prefork event; do
    free_port port
    check "$mpm: starts" start "$mpm" "$mpm" <<END
Listen 127.0.0.1:$port
<VirtualHost *:$port>
    SSLEngine on
    SSLCertificateFile $work/rsa.crt
    SSLCertificateKeyFile $work/rsa.key
    SSLCertificateFile $work/ec.crt
    SSLCertificateKeyFile $work/ec.key
</VirtualHost>
END
    check "$mpm: answers" ready "https://localhost:$port/" "$work/$mpm/log"
    handshakes "$mpm" "$port" rsa ec
    for version in 1.2 1.3; do
        check "$mpm: session resumed, TLS $version" resumption "$port" "$version"
    done
    check "$mpm: 50 handshakes, 8 at a time" many "https://localhost:$port/" 50
    check "$mpm: graceful restarts under load" restarts "$mpm" "https://localhost:$port/"
    check "$mpm: the HSM restarts under load" hsm_restarts page "https://localhost:$port/"
    check "$mpm: stops" stop "$mpm"
done

# A certificate of its own towards a backend can't be an HSM's key: httpd reads that file by PEM_X509_INFO_read_bio, which passes
# over all keys but software keys.
free_port front
free_port back
software_certificate backend
check "proxy with a client certificate: starts" start proxy event <<END
Listen 127.0.0.1:$back
Listen 127.0.0.1:$front
<VirtualHost *:$back>
    SSLEngine on
    SSLCertificateFile $work/rsa.pem
    SSLCACertificateFile $work/ca.crt
    SSLVerifyClient require
</VirtualHost>
<VirtualHost *:$front>
    SSLProxyEngine on
    SSLProxyMachineCertificateFile $work/client.pem
    SSLProxyCACertificateFile $work/ca.crt
    SSLProxyVerify require
    ProxyPass / https://localhost:$back/
</VirtualHost>
END
impossible() {
    local ec
    ec=$(signatures ec)
    ! page "http://localhost:$front/" && signed ec "$ec" 0 && grep "AH02206: no client certs found" "$work/proxy/log"
}
check "proxy with a client certificate: impossible, httpd passes over the key" impossible
check "server with certificate and key in one file, which asks for a client certificate" \
    page --cert "$work/backend.crt" --key "$work/backend.key" "https://localhost:$back/"
check "server that asks for a client certificate: refuses others" eval "! page https://localhost:$back/"
check "proxy: stops" stop proxy
finish
