# shellcheck shell=bash
# nginx with a key by libp11's engine, for a test. Sourced after harness.sh, not run.
#
#   nginx_serves CERTIFICATE URI COMMAND…    one page by one connection, a reload, three more; COMMAND… runs nginx with its environment

nginx_serves() {
    local certificate=$1 uri=$2 port kind temporary=() nginx
    shift 2
    nginx=("$@" nginx -p "$work" -c "$work/nginx.conf")
    free_port port
    for kind in client_body proxy fastcgi uwsgi scgi; do temporary+=("${kind}_temp_path $work/$kind;"); done
    rm -f "$work/pid"
    cat >"$work/nginx.conf" <<END
daemon off; worker_processes 2; user root; pid $work/pid; error_log $work/error.log;
events {}
http {
    access_log off; ${temporary[*]}
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $certificate;
        ssl_certificate_key "engine:pkcs11:$uri";
        ssl_session_cache off; ssl_session_tickets off;
        location / { return 200 served; }
    }
}
END
    "${nginx[@]}" 2>"$work/nginx.err" &
    started "$!"
    fetch() { curl --silent --show-error --max-time 30 --cacert "$certificate" "https://localhost:$port/"; }
    answered() { [ "$(fetch 2>/dev/null)" = served ]; }
    wait_until 30 answered || { fetch; cat "$work/nginx.err"; tail "$work/error.log"; return 1; }
    "${nginx[@]}" -s reload
    wait_until 10 grep -qs . "$work/pid"
    for kind in 1 2 3; do
        answered || { tail "$work/error.log"; return 1; }
    done
    "${nginx[@]}" -s quit
}
