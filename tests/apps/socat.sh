#!/usr/bin/env bash
# socat: both ends of a connection, each with a certificate.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs socat socat
start_hsm
socat -V | sed -n 's/^socat version \([^ ]*\).*/socat \1/p'
for key in rsa ec; do
    free_port port
    # A fork for each connection, which answers with what it was sent.
    launch "$work/$key.log" socat "OPENSSL-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork,cert=$work/$key.crt,key=$work/$key.key,verify=0" EXEC:"head -n 1"
    check "server, $key: listens" wait_until 20 port_is_open "$port"
    handshakes "server, $key" "$port" "$key"
done

echoes() { [ "$(client -quiet -connect "127.0.0.1:$port" <<<"through TLS" 2>/dev/null)" = "through TLS" ]; }
check "server, ec: the HSM restarts under load" hsm_restarts echoes

# Certificate and key in one file, and a server that asks for the client's.
free_port mutual
launch "$work/mutual.log" socat "OPENSSL-LISTEN:$mutual,bind=127.0.0.1,reuseaddr,fork,cert=$work/rsa.pem,cafile=$work/ca.crt,verify=1" EXEC:"head -n 1"
check "both ends: listens" wait_until 20 port_is_open "$mutual"
both() {
    local rsa ec
    rsa=$(signatures rsa) ec=$(signatures ec)
    [ "$(with_provider socat -t 10 - "OPENSSL:localhost:$mutual,pf=ip4,cafile=$work/ca.crt,cert=$work/client.pem" <<<"both ends")" = "both ends" ] || return 1
    signed rsa "$rsa" 1 && signed ec "$ec" 1
}
check "both ends: a signature for each" both
no_certificate() { ! socat -t 10 - "OPENSSL:localhost:$mutual,pf=ip4,cafile=$work/ca.crt" <<<"one end" | grep "one end"; }
check "both ends: a client without certificate gets nothing" no_certificate
finish
