#!/usr/bin/env bash
# nginx: server keys, its own certificate towards a backend, TLS of the stream module; 1 and 4 workers, reloads, lost workers.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/nginx_proxy.sh
. "$(dirname "$0")/nginx_proxy.sh"

needs nginx nginx-light
start_hsm
version=$(nginx -v 2>&1 | sed 's|.*nginx/\([0-9.]*\).*|\1|')
echo "nginx $version, $(openssl version | cut -d' ' -f1,2)"

# Where the modules of Debian's packages are loaded from.
modules=
if [ -f /usr/lib/nginx/modules/ngx_stream_module.so ]; then
    modules="load_module /usr/lib/nginx/modules/ngx_stream_module.so;"
fi

# nginx takes URIs from 1.29 on: key NAME FORM
key() {
    if [ "$2" = file ]; then
        echo "$work/$1.key"
    else
        echo "store:$(openssl asn1parse -in "$work/$1.key" | sed -n 's/.*UTF8STRING *://p')"
    fi
}

# Starts nginx: start NAME WORKERS USER, with the rest of the configuration on stdin.
start() {
    local name=$1 workers=$2 user=$3
    mkdir -p "$work/$name"
    {
        echo "$modules"
        [ -z "$user" ] || echo "user $user;"
        echo "pid $work/$name.pid; error_log $work/$name.log info; worker_processes $workers;"
        echo "events { worker_connections 256; }"
        cat
    } >"$work/$name.conf"
    if ! with_provider nginx -p "$work" -e "$work/$name.log" -c "$work/$name.conf" 2>"$work/$name.err"; then
        cat "$work/$name.err"
        return 1
    fi
    wait_until 10 test -s "$work/$name.pid" || return 1
    started "$(cat "$work/$name.pid")"
}

stop() {
    local pid
    pid=$(cat "$work/$1.pid")
    end_process "$pid" QUIT || return 1
    # A worker that didn't end well is in the log.
    ! grep -E 'exited on signal|\[(alert|emerg)\]' "$work/$1.log"
}

# A server with both certificates: servers NAME PORT FORM
servers() {
    cat <<END
http {
    $(paths "$1")
    access_log off;
    ssl_session_cache shared:tls:1m;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {
        listen 127.0.0.1:$2 ssl;
        ssl_certificate $work/rsa.crt;
        ssl_certificate_key "$(key rsa "$3")";
        ssl_certificate $work/ec.crt;
        ssl_certificate_key "$(key ec "$3")";
        location / { return 200 "worker \$pid\n"; }
    }
}
END
}

workers() { ps --no-headers -o pid,args --ppid "$(cat "$work/$1.pid")" | awk '!/shutting down/ && /worker process/ { print $1 }' | sort; }
# Whether there are as many workers as before, none of them the same: replaced NAME OLD
replaced() {
    local now
    now=$(workers "$1")
    [ "$(wc -l <<<"$now")" -eq "$(wc -l <<<"$2")" ] && [ -z "$(comm -12 <(echo "$2") <(echo "$now"))" ]
}

reloads() {
    local name=$1 url=$2 i old good=yes
    begin_load page "$url"
    for i in 1 2 3; do
        more_load 10 || good=no
        old=$(workers "$name")
        with_provider nginx -p "$work" -e "$work/$name.log" -c "$work/$name.conf" -s reload 2>/dev/null
        wait_until 30 replaced "$name" "$old" || { echo "reload $i did not replace the workers"; tail -n 3 "$work/$name.log"; good=no; }
    done
    more_load 10 || good=no
    end_load 1 && [ "$good" = yes ]
}

# Each worker signs after the one that died.
lose_worker() {
    local old
    old=$(workers "$1")
    # shellcheck disable=SC2086 # several
    kill -KILL $old
    wait_until 30 replaced "$1" "$old" && many "$2" 8
}

# With a bad key nginx says why and goes on as it was.
bad_reload() {
    local name=$1 url=$2 loaded
    sed "s|^\( *ssl_certificate_key\).*|\1 $work/unknown.key;|" "$work/$name.conf" >"$work/bad.conf"
    "$target/akv" key pem --uri-only managedhsm:MyHSM:unknown --out "$work/unknown.key"
    loaded=$(with_provider nginx -t -p "$work" -e "$work/bad.log" -c "$work/bad.conf" 2>&1) && { echo "it was accepted"; return 1; }
    echo "$loaded"
    grep -q KeyNotFound <<<"$loaded" && many "$url" 4
}

forms=(file)
lowest=$(printf '1.29.0\n%s\n' "$version" | sort --version-sort | head -n 1)
if [ "$lowest" = 1.29.0 ]; then
    forms+=(store)
else
    skip "keys by store: URI" "nginx $version takes them from files only (1.29 is needed)"
fi
user=
if [ "$(id -u)" -eq 0 ]; then
    user=www-data
else
    skip "nginx, workers of another user than the master" "that needs root"
fi

for form in "${forms[@]}"; do
    for count in 1 4; do
        name=$form-$count title="$count workers, keys by $form"
        free_port port
        check "$title: starts" start "$name" "$count" "$user" < <(servers "$name" "$port" "$form")
        check "$title: answers" ready "https://localhost:$port/" "$work/$name.log"
        handshakes "$title" "$port" rsa ec
        for version in 1.2 1.3; do
            check "$title: session resumed, TLS $version" resumption "$port" "$version"
        done
        check "$title: 100 handshakes, 8 at a time" many "https://localhost:$port/" 100
        check "$title: reload under load" reloads "$name" "https://localhost:$port/"
        check "$title: the HSM restarts under load" hsm_restarts page "https://localhost:$port/"
        check "$title: workers killed" lose_worker "$name" "https://localhost:$port/"
        check "$title: a key that isn't there" bad_reload "$name" "https://localhost:$port/"
        kill_alerts=$(grep -c 'exited on signal 9' "$work/$name.log")
        sed -i '/exited on signal 9/d' "$work/$name.log"
        check "$title: $kill_alerts workers killed, and no others died" test "$kill_alerts" -eq "$count"
        check "$title: stops" stop "$name"
    done
done

# nginx as a client: mutual TLS with the backend, which asks for a certificate.
free_port front
free_port back
check "backend with client certificates: starts" start proxy 2 "$user" \
    < <(proxying proxy "$front" "$back" "$(key rsa file)" "$(key client "${forms[-1]}")")
proxies "$front" "$back" "$work/proxy.log" ec
check "proxy_ssl_certificate_key: stops" stop proxy

if ! nginx -V 2>&1 | grep -q -- --with-stream || { nginx -V 2>&1 | grep -q -- --with-stream=dynamic && [ -z "$modules" ]; }; then
    skip "stream module" "it is not installed (apt-get install libnginx-mod-stream)"
    finish
fi
free_port outer
free_port middle
free_port inner
check "stream module: starts" start stream 2 "$user" <<END
http {
    $(paths stream)
    access_log off;
    server {
        listen 127.0.0.1:$inner;
        location / { return 200 "through two tunnels\n"; }
    }
}
stream {
    # TLS ends here for the client …
    server {
        listen 127.0.0.1:$outer ssl;
        ssl_certificate $work/ec.crt;
        ssl_certificate_key "$(key ec "${forms[-1]}")";
        proxy_pass 127.0.0.1:$middle;
        proxy_ssl on;
        proxy_ssl_certificate $work/client.crt;
        proxy_ssl_certificate_key "$(key client "${forms[-1]}")";
        proxy_ssl_trusted_certificate $work/ca.crt;
        proxy_ssl_verify on;
        proxy_ssl_name localhost;
    }
    # … and here for the proxy, which needs a certificate.
    server {
        listen 127.0.0.1:$middle ssl;
        ssl_certificate $work/rsa.crt;
        ssl_certificate_key "$(key rsa file)";
        ssl_client_certificate $work/ca.crt;
        ssl_verify_client on;
        proxy_pass 127.0.0.1:$inner;
    }
}
END
check "stream module: answers" ready "https://localhost:$outer/" "$work/stream.log"
tunnelled() {
    local rsa ec
    rsa=$(signatures rsa) ec=$(signatures ec)
    [ "$(page "https://localhost:$outer/")" = "through two tunnels" ] || return 1
    # Server and client certificate of the way, and the server's of the tunnel in it.
    signed rsa "$rsa" 1 && signed ec "$ec" 2
}
check "stream module: a signature for each certificate" tunnelled
check "stream module: stops" stop stream
finish
