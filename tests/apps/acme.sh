#!/usr/bin/env bash
# ACME: certbot and lego get certificates for a key in the HSM by its request, from pebble, the ACME server of Let's Encrypt for tests, which asks nginx for
# the proof that the name is ours. Then renewals, by the script that deploy/ has for it, with nginx under load.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs pebble pebble
needs pebble-challtestsrv pebble
needs nginx nginx-light
needs certbot certbot
start_hsm
echo "$(certbot --version 2>&1), pebble $(dpkg-query --show --showformat='${Version}' pebble), lego $(dpkg-query --show --showformat='${Version}' lego 2>/dev/null)"
for port in dns dns_management http https acme acme_management; do
    free_port "${port}_port"
done

# The ACME server, and the name server that it asks: every name is this machine.
software_certificate pebble
cat >"$work/pebble.json" <<END
{
    "pebble": {
        "listenAddress": "127.0.0.1:$acme_port",
        "managementListenAddress": "127.0.0.1:$acme_management_port",
        "certificate": "$work/pebble.crt",
        "privateKey": "$work/pebble.key",
        "httpPort": $http_port,
        "tlsPort": $https_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false
    }
}
END
# Newer ones call it otherwise, and have a service more to turn off.
dns=(-dns01 "127.0.0.1:$dns_port")
if pebble-challtestsrv -help 2>&1 | grep -q -e -dnsserver; then
    dns=(-dnsserver "127.0.0.1:$dns_port" -doh "")
fi
launch "$work/dns.log" pebble-challtestsrv "${dns[@]}" -http01 "" -https01 "" -tlsalpn01 "" \
    -management "127.0.0.1:$dns_management_port" -defaultIPv4 127.0.0.1 -defaultIPv6 ""
# Without pauses, and without refusing requests at random, which a client would repeat.
export PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0
launch "$work/pebble.log" pebble -strict -config "$work/pebble.json" -dnsserver "127.0.0.1:$dns_port"
directory=https://localhost:$acme_port/dir
check "the ACME server answers" ready "$directory" "$work/pebble.log"
page "https://localhost:$acme_management_port/roots/0" -o "$work/acme-root.crt"

# nginx shows the proofs without TLS, and serves the certificate once it is there.
mkdir "$work/www"
echo "by ACME" >"$work/www/index.html"
chmod 777 "$work/www"
user=
[ "$(id -u)" -ne 0 ] || user="user www-data;"
configure_nginx() {
    cat <<END
$user
pid $work/nginx.pid; error_log $work/nginx.log info; worker_processes 2;
events { worker_connections 256; }
http {
    $(printf '%s_temp_path %s/%s;\n' client_body "$work" tmp proxy "$work" tmp fastcgi "$work" tmp uwsgi "$work" tmp scgi "$work" tmp)
    access_log off;
    root $work/www;
    server { listen 127.0.0.1:$http_port; }
    $1
}
END
}
mkdir "$work/tmp"
nginx_does() { with_provider nginx -p "$work" -e "$work/nginx.log" -c "$work/nginx.conf" "$@"; }
configure_nginx "" >"$work/nginx.conf"
start_nginx() { nginx_does && wait_until 10 test -s "$work/nginx.pid" && started "$(cat "$work/nginx.pid")"; }
check "nginx starts without a certificate" start_nginx

# The request: the only signature that the key makes for its certificates.
name=www.example.test
before=$(signatures rsa)
request() { "$target/akv" cert csr managedhsm:MyHSM:rsa --subject "CN=$name" --san "DNS:$name" --out "$work/web.csr" && signed rsa "$before" 1; }
check "akv makes the request" request

# As deploy/systemd/akv-renew@.service runs it, with this server's options.
renew() {
    REQUESTS_CA_BUNDLE="$work/ca.crt" RELOAD="kill -HUP $(cat "$work/nginx.pid")" \
        deploy/acme/renew.sh "$work/web.crt" "$work/web.csr" --server "$directory" --register-unsafely-without-email \
        --config-dir "$work/certbot" --work-dir "$work/certbot" --logs-dir "$work/certbot" --webroot --webroot-path "$work/www"
}
by_acme() { openssl verify -CAfile "$work/acme-root.crt" -untrusted "$1" "$1" && openssl x509 -in "$1" -noout -checkhost "$name" | grep "does match"; }
serial() { openssl x509 -in "$1" -noout -serial; }
obtained() { renew && by_acme "$work/web.crt"; }
check "certbot --csr gets a certificate" obtained
[ "$failed" -eq 0 ] || finish

configure_nginx "server {
        listen 127.0.0.1:$https_port ssl;
        ssl_certificate $work/web.crt;
        ssl_certificate_key $work/rsa.key;
    }" >"$work/nginx.conf"
fetch() { [ "$(curl --silent --show-error --fail --max-time 30 --cacert "$work/acme-root.crt" --resolve "$name:$https_port:127.0.0.1" "https://$name:$https_port/")" = "by ACME" ]; }
served() { nginx_does -s reload && { wait_until 30 fetch || { tail -n 5 "$work/nginx.log"; return 1; }; }; }
check "nginx serves it with the key in the HSM" served
is_left() {
    local old
    old=$(serial "$work/web.crt")
    renew && [ "$(serial "$work/web.crt")" = "$old" ]
}
check "a certificate that is good for long is left alone" is_left

# What nginx serves; each look takes a signature, like the load's connections.
looks=0
serves() {
    looks=$((looks + 1))
    [ "$(openssl s_client -connect "127.0.0.1:$https_port" -servername "$name" </dev/null 2>/dev/null | openssl x509 -noout -serial)" = "$1" ]
}
renewals() {
    local i old good=yes
    begin_load fetch
    for i in 1 2 3; do
        more_load 10 || good=no
        old=$(serial "$work/web.crt")
        DAYS=36500 renew >"$work/renewal.log" 2>&1 || { tail -n 5 "$work/renewal.log"; good=no; }
        [ "$(serial "$work/web.crt")" != "$old" ] || { echo "renewal $i brought no other certificate"; good=no; }
        wait_until 30 serves "$(serial "$work/web.crt")" || { echo "nginx does not serve certificate $i"; good=no; }
    done
    more_load 10 || good=no
    end_load any && signed "" "$signatures_before_load" "$(($(load_count 1) + looks))" && [ "$good" = yes ]
}
check "three renewals under load" renewals

if command -v lego >/dev/null; then
    lego_does() {
        LEGO_CA_CERTIFICATES="$work/ca.crt" lego --server "$directory" --accept-tos --email me@example.test --csr "$work/web.csr" \
            --http --http.webroot "$work/www" --path "$work/lego" "$@"
    }
    by_lego() { lego_does run && by_acme "$work/lego/certificates/$name.crt"; }
    check "lego --csr gets a certificate" by_lego
    renewed_by_lego() {
        local old
        old=$(serial "$work/lego/certificates/$name.crt")
        lego_does renew --days 36500 --no-random-sleep && by_acme "$work/lego/certificates/$name.crt" && [ "$(serial "$work/lego/certificates/$name.crt")" != "$old" ]
    }
    check "lego --csr renews it" renewed_by_lego
else
    skip "lego" "it is not installed (apt-get install lego)"
fi

# The ACME client never had the key: a file of the request's kind and certificates is all that there is.
no_key() { ! grep -rlE 'PRIVATE KEY' "$work/lego/certificates" "$work/certbot/csr" "$work/certbot/keys" 2>/dev/null; }
check "the clients have no private key for it" no_key
stop_nginx() { end_process "$(cat "$work/nginx.pid")" QUIT && ! grep -E 'exited on signal|\[(alert|emerg)\]' "$work/nginx.log"; }
check "stops" stop_nginx
finish
