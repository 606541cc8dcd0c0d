#!/usr/bin/env bash
# Squid with OpenSSL: a reverse proxy with the keys of its port, and a certificate towards the server behind it.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs squid squid-openssl
if ! squid -v | grep -q -- --with-openssl; then
    skip squid "it is not linked with OpenSSL (apt-get install squid-openssl)"
    finish
fi
key_file_options=(--uri-only)
start_hsm
squid -v | head -n 1
user=
if [ "$(id -u)" -eq 0 ]; then
    user="cache_effective_user proxy"
    chown proxy "$work"
fi

# The server behind: a software key, and it asks for a certificate.
software_certificate backend
free_port backend
openssl s_server -accept "127.0.0.1:$backend" -cert "$work/backend.crt" -key "$work/backend.key" -CAfile "$work/ca.crt" \
    -Verify 1 -verify_return_error -www >"$work/backend.log" 2>&1 &
started "$!"
wait_until 10 port_is_open "$backend" || broken "openssl s_server did not start."

# A port for each key.
free_port rsa_port
free_port ec_port
cat >"$work/ports.conf" <<CONF
https_port 127.0.0.1:$rsa_port accel defaultsite=localhost tls-cert=$work/rsa.crt tls-key=$work/rsa.key
https_port 127.0.0.1:$ec_port accel defaultsite=localhost tls-cert=$work/ec.crt tls-key=$work/ec.key
pid_filename $work/squid.pid
cache_log $work/squid.log
CONF
cat "$work/ports.conf" - >"$work/squid.conf" <<CONF
cache_peer 127.0.0.1 parent $backend 0 no-query originserver tls ssldomain=localhost \
    tls-cafile=$work/ca.crt tls-cert=$work/client.crt tls-key=$work/client.key
http_access allow all
cache deny all
server_persistent_connections off
client_persistent_connections off
$user
access_log none
coredump_dir $work
shutdown_lifetime 1 second
CONF
# It frees the keys of its ports in destructors of C++ globals, after libcrypto has cleaned up.
for configuration in ports squid; do
    check "reads its configuration and exits: -k parse, $configuration.conf" with_provider squid -k parse -f "$work/$configuration.conf"
done
launch "$work/squid.out" squid -N -f "$work/squid.conf"
server=$pid
url=https://localhost:$rsa_port/
check "answers" eval "ready '$url' '$work/squid.log' || { cat '$work/squid.out'; false; }"
handshakes "server" "$rsa_port" rsa
handshakes "server" "$ec_port" ec
proxied() {
    local rsa ec
    rsa=$(signatures rsa) ec=$(signatures ec)
    page "$url" >"$work/page" || return 1
    grep -q "CN *= *client" "$work/page" || { cat "$work/page"; return 1; }
    signed rsa "$rsa" 1 && signed ec "$ec" 1
}
check "client certificate to the server behind: a signature for each side" proxied
reloads() {
    local i before
    for i in 1 2 3; do
        before=$(loads rsa)
        with_provider squid -k reconfigure -f "$work/squid.conf" || return 1
        wait_until 30 eval "[ \$(loads rsa) -gt $((before + 1)) ]" || { echo "the key was not loaded again"; return 1; }
        ready "$url" "$work/squid.log" && proxied || return 1
    done
}
check "reconfigured" reloads
check "the HSM restarts under load" hsm_restarts page "$url"
check "stops" end_process "$server"
finish
