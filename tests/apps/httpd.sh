# shellcheck shell=bash
# Apache httpd for a test, each instance in a folder of its own. Sourced after harness.sh, not run.
#
#   start NAME MPM          with the rest of the configuration on stdin
#   configure NAME MPM      only writes the configuration, $work/NAME.conf
#   httpd NAME start|graceful
#   restarts NAME URL       graceful restarts under load
#   stop NAME
#   machine_certificates                once before the next two: makes own.pem, a software key with its certificate
#   asks_backend NAME FILE              a page from a backend that asks for a certificate, by SSLProxyMachineCertificateFile FILE
#   asks_no_backend NAME FILE MESSAGE   the same is refused with a message, and the HSM is not asked to sign

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

configure() {
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
}

start() {
    configure "$1" "$2"
    httpd "$1" start || return 1
    wait_until 10 test -s "$work/$1/pid" || return 1
    started "$(cat "$work/$1/pid")"
}

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

machine_certificates() {
    openssl req -x509 -newkey rsa:2048 -noenc -keyout "$work/own.key" -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -days 2 -out "$work/own.crt" 2>/dev/null
    cat "$work/own.crt" "$work/own.key" >"$work/own.pem"
    cat "$work/own.crt" "$work/ca.crt" >"$work/known.crt"
}

asks_backend() {
    local front back
    free_port front
    free_port back
    start "$1" event <<END || return 1
Listen 127.0.0.1:$back
Listen 127.0.0.1:$front
<VirtualHost *:$back>
    SSLEngine on
    SSLCertificateFile "$work/own.pem"
    SSLCACertificateFile "$work/known.crt"
    SSLVerifyClient require
</VirtualHost>
<VirtualHost *:$front>
    SSLProxyEngine on
    SSLProxyMachineCertificateFile "$2"
    SSLProxyCACertificateFile "$work/own.crt"
    ProxyPass / https://localhost:$back/
</VirtualHost>
END
    page "http://localhost:$front/" && ! page --cacert "$work/own.crt" "https://localhost:$back/"
}

asks_no_backend() {
    local before
    before=$(signatures)
    ! asks_backend "$1" "$2" || return 1
    cat "$work/$1.err" "$work/$1/log"
    grep -q "$3" "$work/$1.err" "$work/$1/log" && signed "" "$before" 0
}
