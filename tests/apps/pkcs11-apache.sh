#!/usr/bin/env bash
# Apache httpd by libp11's engine: certificate and key as pkcs11: URIs, prefork and event, graceful restarts.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs apache2 apache2
needs_engine
start_token
echo "$(apache2 -v | head -n 1), $(openssl version | cut -d' ' -f1,2)"
token_certificate rsa rsa
token_certificate ec ec
user=
if [ "$(id -u)" -eq 0 ]; then
    user=$'User www-data\nGroup www-data'
    # What keeps others from the keys is who may log in, not who may read this.
    chmod 644 "$MHSM_PKCS11_CONF"
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
    SSLCertificateFile "$(token_uri rsa cert)"
    SSLCertificateKeyFile "$(token_uri rsa)"
    SSLCertificateFile "$(token_uri ec cert)"
    SSLCertificateKeyFile "$(token_uri ec)"
</VirtualHost>
END
    check "$mpm: answers" ready "https://localhost:$port/" "$work/$mpm/log"
    handshakes "$mpm" "$port" rsa ec
    check "$mpm: 24 requests, 8 at a time" many "https://localhost:$port/" 24
    check "$mpm: graceful restarts under load" restarts "$mpm" "https://localhost:$port/"
    check "$mpm: the HSM restarts under load" hsm_restarts page "https://localhost:$port/"
    check "$mpm: stops" stop "$mpm"
done

# Its own certificate towards a backend is one that a file holds, with its key.
free_port port
refused() {
    ! start proxy event && grep "SSLProxyMachineCertificateFile: file .*/$(token_uri ec cert)' does not exist" "$work/proxy.err"
}
check "SSLProxyMachineCertificateFile: impossible, httpd looks for a file" refused <<END
Listen 127.0.0.1:$port
<VirtualHost *:$port>
    SSLProxyEngine on
    SSLProxyMachineCertificateFile "$(token_uri ec cert)"
</VirtualHost>
END
finish
