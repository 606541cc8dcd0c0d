#!/usr/bin/env bash
# stunnel as server and as client with a certificate, in front of a plain server.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/stunnels.sh
. "$(dirname "$0")/stunnels.sh"

needs stunnel stunnel4
needs python3 python3
key_file_options=(--uri-only)
start_hsm
stunnel -version 2>&1 | grep -m 1 "^stunnel"

plain_server
for key in rsa ec; do
    free_port port
    start "$key" <<END
accept = 127.0.0.1:$port
connect = 127.0.0.1:$inner
cert = $work/$key.crt
key = $work/$key.key
END
    check "server, $key: answers" ready "https://localhost:$port/" "$work/$key.log"
    handshakes "server, $key" "$port" "$key"
    check "server, $key: 50 handshakes, 8 at a time" many "https://localhost:$port/" 50
    check "server, $key: the HSM restarts under load" hsm_restarts page "https://localhost:$port/"
done

reloads() {
    local before
    before=$(loads ec)
    reload ec "https://localhost:$port/" || return 1
    [ "$(loads ec)" -gt "$before" ] || { echo "the key was not loaded again"; return 1; }
}
check "server: reload" reloads

# Certificate and key in one file on both sides.
free_port back
free_port front
start back <<END
accept = 127.0.0.1:$back
connect = 127.0.0.1:$inner
cert = $work/rsa.pem
CAfile = $work/ca.crt
verifyChain = yes
requireCert = yes
END
start front <<END
client = yes
accept = 127.0.0.1:$front
connect = 127.0.0.1:$back
cert = $work/client.pem
CAfile = $work/ca.crt
verifyChain = yes
checkHost = localhost
sessionResume = no
END
check "client certificate: answers" ready "http://localhost:$front/" "$work/front.log"
tunnelled() {
    local rsa ec
    rsa=$(signatures rsa) ec=$(signatures ec)
    [ "$(page "http://localhost:$front/")" = "keys in the HSM" ] || return 1
    signed rsa "$rsa" 1 && signed ec "$ec" 1
}
check "client certificate: a signature for each side" tunnelled
check "client certificate: the server refuses others" eval "! page https://localhost:$back/"
for name in rsa ec back front; do
    check "$name: stops" end_process "${pids[$name]}"
done
finish
