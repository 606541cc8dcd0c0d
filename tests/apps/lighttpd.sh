#!/usr/bin/env bash
# lighttpd: the keys of its server.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs lighttpd "lighttpd lighttpd-mod-openssl"
key_file_options=(--uri-only)
start_hsm
lighttpd -v | head -n 1
mkdir "$work/www"
echo "keys in the HSM" >"$work/www/index.html"
free_port rsa_port
free_port ec_port
user=
if [ "$(id -u)" -eq 0 ]; then
    user='server.username = "www-data" server.groupname = "www-data"'
    install -o www-data /dev/null "$work/lighttpd.log"
fi
cat >"$work/lighttpd.conf" <<END
server.modules = ( "mod_openssl" )
server.document-root = "$work/www"
server.errorlog = "$work/lighttpd.log"
index-file.names = ( "index.html" )
server.bind = "127.0.0.1"
server.port = $rsa_port
server.feature-flags = ( "server.graceful-shutdown-timeout" => 30 )
$user
ssl.engine = "enable"
ssl.openssl.ssl-conf-cmd = ( "MinProtocol" => "TLSv1.2" )
ssl.pemfile = "$work/rsa.crt"
ssl.privkey = "$work/rsa.key"
\$SERVER["socket"] == "127.0.0.1:$ec_port" {
    ssl.engine = "enable"
    ssl.openssl.ssl-conf-cmd = ( "MinProtocol" => "TLSv1.2" )
    ssl.pemfile = "$work/ec.crt"
    ssl.privkey = "$work/ec.key"
}
END
launch "$work/lighttpd.out" lighttpd -D -f "$work/lighttpd.conf"
server=$pid
url=https://localhost:$rsa_port/
check "starts" eval "ready '$url' '$work/lighttpd.log' || { cat '$work/lighttpd.out'; false; }"
[ "$failed" -eq 0 ] || finish
handshakes "server" "$rsa_port" rsa
handshakes "server" "$ec_port" ec
check "session resumed, TLS 1.3" resumption "$rsa_port" 1.3
check "50 handshakes, 8 at a time" many "$url" 50
reloads() {
    local i before good=yes
    begin_load page --http1.1 "$url"
    for i in 1 2 3; do
        more_load 10 || good=no
        before=$(loads rsa)
        kill -USR1 "$server"
        wait_until 30 eval "[ \$(loads rsa) -gt $before ]" || { echo "the key was not loaded again"; good=no; }
    done
    more_load 10 || good=no
    end_load 1 && [ "$good" = yes ]
}
check "graceful restarts under load" reloads
check "the HSM restarts under load" hsm_restarts page "$url"
check "stops" end_process "$server"
finish
