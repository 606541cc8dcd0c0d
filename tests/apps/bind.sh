#!/usr/bin/env bash
# BIND: DNS over TLS.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs named bind9
needs dig bind9-dnsutils
start_hsm
named -v
free_port port
cat >"$work/zone" <<END
@ 60 IN SOA ns root 1 3600 600 86400 60
@ 60 IN NS ns
ns 60 IN A 127.0.0.1
keys 60 IN TXT "in the HSM"
END
chmod 777 "$work"
cat >"$work/named.conf" <<END
options {
    directory "$work";
    pid-file none;
    session-keyfile none;
    managed-keys-directory "$work";
    recursion no;
    dnssec-validation no;
    listen-on port $port tls rsa { 127.0.0.1; };
    listen-on-v6 { none; };
};
controls { };
tls rsa { cert-file "$work/rsa.crt"; key-file "$work/rsa.key"; };
zone "test" { type primary; file "$work/zone"; };
END
user=()
[ "$(id -u)" -ne 0 ] || user=(-u bind)
launch "$work/named.log" named -g -n 2 "${user[@]}" -c "$work/named.conf"
server=$pid
ask() { dig +time=30 +tries=1 +short +tls +tls-ca="$work/ca.crt" +tls-hostname=localhost -p "$port" @127.0.0.1 keys.test TXT; }
asks() { [ "$(ask)" = '"in the HSM"' ]; }
check "starts" eval "wait_until 30 asks || { ask; tail '$work/named.log'; false; }"
handshakes "DNS over TLS" "$port" rsa
reloads() {
    local i before good=yes
    begin_load asks
    for i in 1 2 3; do
        more_load 10 || good=no
        before=$(loads rsa)
        kill -HUP "$server"
        wait_until 30 eval "[ \$(loads rsa) -gt $before ]" || { echo "the key was not loaded again"; good=no; }
    done
    more_load 10 || good=no
    end_load 1 && [ "$good" = yes ]
}
check "reloads under load" reloads
check "the HSM restarts under load" hsm_restarts asks
check "stops" end_process "$server"
finish
