#!/usr/bin/env bash
# HTTP/3: nginx with its keys in the HSM, asked by curl over QUIC.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs nginx nginx-light
needs curl curl
if ! nginx -V 2>&1 | grep -q -- --with-http_v3_module; then
    skip http3 "this nginx knows no HTTP/3; Debian 13's does"
    finish
fi
if ! curl --version | grep -q HTTP3; then
    skip http3 "this curl knows no HTTP/3; Debian 13's does"
    finish
fi
start_hsm
nginx -v
curl --version | head -n 1
user=
[ "$(id -u)" -ne 0 ] || user='user www-data;'
free_port rsa_port
free_port ec_port

# server KEY_AND_CERTIFICATE PORT
server() {
    cat <<CONF
    server {
        listen 127.0.0.1:$2 quic reuseport;
        listen 127.0.0.1:$2 ssl;
        ssl_certificate $work/$1.crt;
        ssl_certificate_key $work/$1.key;
        location / { return 200 "\$server_protocol, \$ssl_protocol\n"; }
    }
CONF
}
cat >"$work/nginx.conf" <<CONF
$user
daemon off;
worker_processes 2;
pid $work/nginx.pid;
error_log $work/nginx.log;
events {}
http {
    access_log off;
    client_body_temp_path $work/tmp;
    proxy_temp_path $work/tmp;
    fastcgi_temp_path $work/tmp;
    uwsgi_temp_path $work/tmp;
    scgi_temp_path $work/tmp;
$(server rsa "$rsa_port")
$(server ec "$ec_port")
}
CONF
launch "$work/nginx.out" nginx -p "$work" -c "$work/nginx.conf" -e "$work/nginx.log"
server=$pid
check "answers" ready "https://localhost:$rsa_port/" "$work/nginx.log"

# by_quic PORT KEY: one request, one connection, one signature
by_quic() {
    local before
    before=$(signatures "$2")
    page --http3-only "https://127.0.0.1:$1/" >"$work/page" || return 1
    grep -qx 'HTTP/3.0, TLSv1.3' "$work/page" || { cat "$work/page"; return 1; }
    signed "$2" "$before" 1
}
check "HTTP/3, RSA" by_quic "$rsa_port" rsa
check "HTTP/3, EC" by_quic "$ec_port" ec
# The client knows another CA.
refused() { ! curl --silent --max-time 10 --http3-only --cacert "$AKV_CA_FILE" "https://127.0.0.1:$rsa_port/"; }
check "HTTP/3: a client that doesn't trust the CA goes away" refused
quic_page() { page --http3-only "https://127.0.0.1:$rsa_port/"; }
# Not reloaded under load: nginx loses connections by QUIC then, with software keys too.
check "HTTP/3: the HSM restarts under load" hsm_restarts quic_page
check "stops" end_process "$server"
finish
