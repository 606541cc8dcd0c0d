#!/usr/bin/env bash
# Unbound: the key of its resolver, by TLS and by HTTPS.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs unbound unbound
needs dig bind9-dnsutils
start_hsm
unbound -V | head -n 1
free_port tls_port
free_port https_port
user='username: ""'
if [ "$(id -u)" -eq 0 ]; then
    user='username: unbound'
fi

# configuration KEY
configuration() {
    cat <<CONF
server:
    interface: 127.0.0.1@$tls_port
    interface: 127.0.0.1@$https_port
    tls-port: $tls_port
    https-port: $https_port
    tls-service-pem: "$work/$1.crt"
    tls-service-key: "$work/$1.key"
    local-data: 'keys.test. TXT "in the HSM"'
    $user
    chroot: ""
    directory: "$work"
    pidfile: ""
    use-syslog: no
    logfile: ""
remote-control:
    control-enable: no
CONF
}
start() {
    configuration "$1" >"$work/unbound.conf"
    launch "$work/unbound.log" unbound -d -c "$work/unbound.conf"
    server=$pid
    wait_until 20 port_is_open "$tls_port" || { cat "$work/unbound.log"; return 1; }
}
ask() {
    dig +time=30 +tries=1 +short "+$1" +tls-ca="$work/ca.crt" +tls-hostname=localhost -p "$2" @127.0.0.1 keys.test TXT
}
# answer TRANSPORT PORT KEY: takes one signature
answer() {
    local before
    before=$(signatures "$3")
    [ "$(ask "$1" "$2")" = '"in the HSM"' ] || { ask "$1" "$2"; return 1; }
    signed "$3" "$before" 1
}

for key in ec rsa; do
    check "$key: starts" start "$key"
    check "$key: an answer by TLS" answer tls "$tls_port" "$key"
    check "$key: an answer by HTTPS" answer https "$https_port" "$key"
    handshakes "server" "$tls_port" "$key"
    [ "$key" = rsa ] || check "$key: stops" end_process "$server"
done
answers_tls() { [ "$(ask tls "$tls_port")" = '"in the HSM"' ]; }
# It keeps the key that it has.
reloads() { kill -HUP "$server" && answer tls "$tls_port" rsa && answer https "$https_port" rsa; }
check "goes on after a reload" reloads
check "the HSM restarts under load" hsm_restarts answers_tls
check "stops" end_process "$server"
finish
