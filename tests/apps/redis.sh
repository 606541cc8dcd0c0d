#!/usr/bin/env bash
# Redis: the server's key, new certificates while it runs, and the certificate of redis-cli.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs redis-server redis-server
start_hsm
redis-server --version | cut -d' ' -f1-3
free_port port
launch "$work/redis.log" redis-server --port 0 --tls-port "$port" --bind 127.0.0.1 --save '' --dir "$work" --tls-auth-clients optional \
    --tls-ca-cert-file "$work/ca.crt" --tls-cert-file "$work/rsa.crt" --tls-key-file "$work/rsa.key"

ask() { redis-cli -h localhost -p "$port" --tls --sni localhost --cacert "$work/ca.crt" "$@"; }
pings() { [ "$(ask PING 2>&1)" = PONG ]; }
check "server: starts" eval "wait_until 30 pings || { cat '$work/redis.log'; false; }"
handshakes server "$port" rsa
check "server: the HSM restarts under load" hsm_restarts pings
# Settings that are given again are loaded again.
reloads() {
    local i good=yes
    begin_load pings
    for i in ec rsa ec; do
        more_load 10 || good=no
        [ "$(ask CONFIG SET tls-cert-file "$work/$i.crt" tls-key-file "$work/$i.key")" = OK ] || good=no
    done
    more_load 10 || good=no
    end_load any && [ "$good" = yes ]
}
check "server: other keys under load" reloads
handshakes server "$port" ec
client_certificate() {
    local before
    ask CONFIG SET tls-auth-clients yes && ! pings || return 1
    before=$(signatures)
    [ "$(with_provider redis-cli -h localhost -p "$port" --tls --sni localhost --cacert "$work/ca.crt" --cert "$work/client.crt" --key "$work/client.key" PING)" = PONG ] || return 1
    # The server's and the client's.
    signed "" "$before" 2
}
check "redis-cli: client certificate" client_certificate
finish
