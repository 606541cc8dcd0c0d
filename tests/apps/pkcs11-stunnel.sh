#!/usr/bin/env bash
# stunnel by libp11's engine: server and client, certificates and keys as pkcs11: URIs.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"
# shellcheck source=tests/apps/stunnels.sh
. "$(dirname "$0")/stunnels.sh"

needs stunnel stunnel4
needs python3 python3
needs_engine
start_token
stunnel -version 2>&1 | grep -m 1 "^stunnel"
token_certificate rsa rsa
token_certificate ec ec
plain_server

# The engine is that of openssl.cnf.
global=("engine = pkcs11")
# own KEY: its certificate and itself
own() { printf '%s\n' "engineId = pkcs11" "cert = $(token_uri "$1" cert)" "key = $(token_uri "$1")"; }
for key in rsa ec; do
    free_port port
    start "$key" <<END
$(own "$key")
accept = 127.0.0.1:$port
connect = 127.0.0.1:$inner
END
    check "server, $key: answers" ready "https://localhost:$port/" "$work/$key.log"
    handshakes "server, $key" "$port" "$key"
    check "server, $key: 24 requests, 8 at a time" many "https://localhost:$port/" 24
    check "server, $key: the HSM restarts under load" hsm_restarts page "https://localhost:$port/"
    check "server, $key: reload" reload "$key" "https://localhost:$port/"
done

free_port back
free_port front
token_certificate client ec /CN=client extendedKeyUsage=clientAuth
rm "$work/certificates/ec.pem"
start back <<END
$(own rsa)
accept = 127.0.0.1:$back
connect = 127.0.0.1:$inner
CAfile = $work/ca.crt
verifyChain = yes
requireCert = yes
END
start front <<END
$(own ec)
client = yes
accept = 127.0.0.1:$front
connect = 127.0.0.1:$back
CAfile = $work/ca.crt
verifyChain = yes
checkHost = localhost
END
both() {
    local rsa ec one
    for one in "$front" "$back"; do
        wait_until 20 port_is_open "$one" || { tail "$work/front.log" "$work/back.log"; return 1; }
    done
    rsa=$(signatures rsa) ec=$(signatures ec)
    curl --silent --show-error --fail --max-time 30 "http://127.0.0.1:$front/" >/dev/null || { tail "$work/front.log"; return 1; }
    # That the ports are open was asked by a connection each, too.
    wait_until 5 has_signatures rsa "$((rsa + 1))" && wait_until 5 has_signatures ec "$((ec + 1))"
}
check "client with a certificate, and server that asks for one" both

# libp11 takes the newest of the versions of a label, which the certificate is not for.
rotate rsa
port=$(sed -n 's/^accept = .*://p' "$work/rsa.conf")
by_label_refused() {
    local other
    free_port other
    sed "s|^accept = .*|accept = 127.0.0.1:$other|" "$work/rsa.conf" >"$work/label.conf"
    ! with_provider timeout 30 stunnel "$work/label.conf" >"$work/label.log" 2>&1 && grep "key values mismatch" "$work/label.log"
}
check "server, rsa: with the certificate from before, a key by its label is refused" by_label_refused
sed -i "s|^key = .*|key = $(token_uri_by_id rsa)|" "$work/rsa.conf"
check "server, rsa: reload with the certificate from before, the key by its id" reload rsa "https://localhost:$port/"
finish
