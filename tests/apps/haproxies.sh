# shellcheck shell=bash
# HAProxy for a test, with reloads and under load. Sourced after harness.sh, once the HSM has started, not run.
#
#   start NAME THREADS ASYNC  starts it, with the rest of the configuration on stdin
#   stop NAME                 has it end without a complaint
#   serves THREADS ASYNC      all that a server does
#   proxies FILE              a client's certificate towards a backend

user=
if [ "$(id -u)" -eq 0 ]; then
    user="user haproxy group haproxy"
else
    skip "workers of another user than the master" "that needs root"
fi

# Starts HAProxy: start NAME THREADS ASYNC, with the rest of the configuration on stdin.
start() {
    {
        echo "global"
        # Else HAProxy forbids its workers to start threads as soon as they run, which the provider does.
        echo "    insecure-fork-wanted"
        [ -z "$user" ] || printf '    %s\n    %s\n' "${user% group*}" "group ${user##* }"
        echo "    nbthread $2"
        [ "$3" = no ] || echo "    ssl-mode-async"
        echo "defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 30s"
        cat
    } >"$work/$1.cfg"
    launch "$work/$1.log" haproxy -W -db -f "$work/$1.cfg"
    masters[$1]=$pid
}
declare -A masters=()

stop() {
    end_process "${masters[$1]}" USR1 || return 1
    ! grep -E 'ALERT|exited with code (1[34]|[2-9])' "$work/$1.log"
}

# The workers that the master has now, the one that ends its last connections too.
workers() { ps --no-headers -o pid --ppid "${masters[$1]}" | sort; }
replaced() { [ -n "$(comm -13 <(echo "$2") <(workers "$1"))" ] && [ -z "$(comm -12 <(echo "$2") <(workers "$1"))" ]; }

reloads() {
    local i old good=yes
    begin_load page "$2"
    for i in 1 2 3; do
        more_load 10 || good=no
        old=$(workers "$1")
        kill -USR2 "${masters[$1]}"
        wait_until 30 replaced "$1" "$old" || { echo "reload $i did not replace the worker"; tail -n 5 "$work/$1.log"; good=no; }
    done
    more_load 10 || good=no
    end_load 1 && [ "$good" = yes ]
}

# The keys rsa and ec, of files with a certificate each, in all that a server does: serves THREADS ASYNC
serves() {
    local name=$1-$2 title="$1 threads" port version
    [ "$2" = no ] || title="$title, ssl-mode-async"
    free_port port
    start "$name" "$1" "$2" <<END
frontend tls
    bind 127.0.0.1:$port ssl crt $work/rsa.pem crt $work/ec.pem ssl-min-ver TLSv1.2
    http-request return status 200 content-type text/plain string "keys in the HSM"
END
    check "$title: answers" ready "https://localhost:$port/" "$work/$name.log"
    handshakes "$title" "$port" rsa ec
    for version in 1.2 1.3; do
        check "$title: session resumed, TLS $version" resumption "$port" "$version"
    done
    check "$title: 50 handshakes, 8 at a time" many "https://localhost:$port/" 50
    check "$title: reloads under load" reloads "$name" "https://localhost:$port/"
    check "$title: the HSM restarts under load" hsm_restarts page "https://localhost:$port/"
    check "$title: stops" stop "$name"
}

# Mutual TLS between two HAProxies in one, with the key ec and a certificate of CN=client: proxies FILE
proxies() {
    local front back
    free_port front
    free_port back
    start proxy 2 no <<END
frontend back
    bind 127.0.0.1:$back ssl crt $work/rsa.pem ca-file $work/ca.crt verify required
    http-request return status 200 content-type text/plain lf-string %[ssl_c_s_dn(cn)]
frontend front
    bind 127.0.0.1:$front
    default_backend tls
backend tls
    server one 127.0.0.1:$back ssl crt $1 ca-file $work/ca.crt verify required sni str(localhost) no-ssl-reuse
    http-reuse never
END
    check "client certificate to a backend: answers" ready "http://localhost:$front/" "$work/proxy.log"
    check "client certificate to a backend: a signature for each side" proxied
    check "client certificate to a backend: it refuses others" eval "! page https://localhost:$back/"
    check "client certificate to a backend: stops" stop proxy
}
proxied() {
    local rsa ec
    rsa=$(signatures rsa) ec=$(signatures ec)
    [ "$(page "http://localhost:$front/")" = client ] || { page "http://localhost:$front/"; return 1; }
    signed rsa "$rsa" 1 && signed ec "$ec" 1
}
