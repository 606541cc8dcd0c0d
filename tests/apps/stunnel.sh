#!/usr/bin/env bash
# stunnel as server and as client with a certificate, in front of a plain server.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs stunnel stunnel4
needs python3 python3
key_file_options=(--uri-only)
start_hsm
stunnel -version 2>&1 | grep -m 1 "^stunnel"

mkdir "$work/www"
echo "keys in the HSM" >"$work/www/index.html"
free_port inner
python3 -m http.server --bind 127.0.0.1 --directory "$work/www" "$inner" >"$work/www.log" 2>&1 &
started "$!"

# Starts stunnel with a service: start NAME, its settings on stdin.
start() {
    {
        printf '%s\n' "foreground = yes" "pid =" "debug = info" "[$1]"
        cat
    } >"$work/$1.conf"
    launch "$work/$1.log" stunnel "$work/$1.conf"
    pids[$1]=$pid
}
declare -A pids=()

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

# Not under load: stunnel closes its port for a moment, and resets who waits there, whatever key it has.
reload() {
    local before
    before=$(loads ec)
    kill -HUP "${pids[ec]}"
    wait_until 30 eval "[ \$(loads ec) -gt $before ]" || { echo "the key was not loaded again"; return 1; }
    ready "https://localhost:$port/" "$work/ec.log" && many "https://localhost:$port/" 10
}
check "server: reload" reload

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
