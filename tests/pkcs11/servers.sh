#!/usr/bin/env bash
# Servers by pkcs11-provider: nginx by key files that hold a URI, and where it knows them by store: URIs; Apache httpd by pkcs11: URIs
# for certificate and key.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/../apps/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/../apps/tokens.sh"
# shellcheck source=tests/apps/httpd.sh
. "$(dirname "$0")/../apps/httpd.sh"
# shellcheck source=tests/apps/nginx_proxy.sh
. "$(dirname "$0")/../apps/nginx_proxy.sh"

needs_engine
emulator_options=("${short_lived[@]}")
start_token
token_certificate rsa rsa
token_certificate ec ec
token_certificate client ec /CN=client extendedKeyUsage=clientAuth
# The token shows one certificate of each key.
rm "$work/certificates/client.pem"
chmod 644 "$MHSM_PKCS11_CONF"
provider_conf
for key in rsa ec; do
    token_pem "$key"
    uri_pem "$(token_uri_by_id "$key")" "$work/$key-id" >"$work/$key-id.key"
done
log_in

# What a server has to do: tries NAME PORT LOG
tries() {
    local before=$failed
    check "$1: answers" ready "https://localhost:$2/" "$3"
    [ "$failed" -eq "$before" ] || return
    handshakes "$1" "$2" rsa ec
    check "$1: 24 requests, 8 at a time" many "https://localhost:$2/" 24
    check "$1: the HSM restarts under load" hsm_restarts page "https://localhost:$2/"
    check "$1: tokens are renewed under load" renewals 6 page "https://localhost:$2/"
    check "$1: keys rotate under load" rotations "rsa ec" 3 page "https://localhost:$2/"
}

# nginx_serves TITLE KEY_OF_RSA KEY_OF_EC
nginx_serves() {
    local port kind temporary=()
    free_port port
    for kind in client_body proxy fastcgi uwsgi scgi; do temporary+=("${kind}_temp_path $work/$kind;"); done
    cat >"$work/nginx.conf" <<END
daemon off; worker_processes 2; user root; pid $work/pid; error_log $work/nginx.log;
events {}
http {
    access_log off; ${temporary[*]}
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $work/rsa.crt; ssl_certificate_key "$2";
        ssl_certificate $work/ec.crt; ssl_certificate_key "$3";
        ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
        location / { return 200 served; }
    }
}
END
    # Its workers have nothing of the environment: they start the module anew with what the master has read.
    launch "$work/nginx.out" nginx -p "$work" -e "$work/nginx.log" -c "$work/nginx.conf"
    tries "$1" "$port" "$work/nginx.log"
    # By the same label there are newer versions now, which the certificates are not for.
    if [ "${2#store:}" = "$2" ]; then
        check "$1: with the certificates from before, key files by their labels are refused" by_label_refused
        sed -i "s|\(/[a-z]*\)\.key|\1-id.key|" "$work/nginx.conf"
    fi
    check "$1: starts with the certificates from before" nginx_tests
    check "$1: reloads under load, with the certificates from before" reloads "https://localhost:$port/"
    check "$1: stops" end_process "$pid" QUIT
}
# Reads certificates and keys in a process of its own.
nginx_tests() { with_provider nginx -t -p "$work" -e "$work/nginx.log" -c "$work/nginx.conf"; }
# pkcs11-provider takes the last of the keys that a file's URI fits, and the first of those that fit another URI.
by_label_refused() { ! nginx_tests 2>"$work/nginx.err" && grep "key values mismatch" "$work/nginx.err"; }
# No connection is lost, and each takes one signature.
reloads() {
    local i before good=yes
    begin_load page "$1"
    for i in 1 2 3; do
        more_load 10 || good=no
        before=$(workers)
        kill -HUP "$pid"
        wait_until 30 has_other_workers "$before" || { echo "reload $i did not happen"; good=no; }
    done
    more_load 10 || good=no
    end_load 1 && [ "$good" = yes ]
}
workers() { pgrep --parent "$pid" | sort | tr '\n' ' '; }
has_other_workers() { [ "$(workers)" != "$1" ]; }
# nginx_asks TITLE KEY_OF_RSA KEY_OF_EC: as a client, with a certificate of its own
nginx_asks() {
    local front back
    free_port front
    free_port back
    {
        echo "daemon off; worker_processes 2; user root; pid $work/proxy.pid; error_log $work/proxy.log; events {}"
        proxying proxy "$front" "$back" "$2" "$3"
    } >"$work/proxy.conf"
    launch "$work/proxy.out" nginx -p "$work" -e "$work/proxy.log" -c "$work/proxy.conf"
    proxies "$front" "$back" "$work/proxy.log" ec "$1"
    check "$1: proxy_ssl_certificate_key: stops" end_process "$pid" QUIT
}
if ! command -v nginx >/dev/null; then
    skip nginx "it is not installed (apt-get install nginx-light)"
else
    nginx -v
    nginx_asks nginx "$work/rsa.key" "$work/ec.key"
    nginx_serves nginx "$work/rsa.key" "$work/ec.key"
    version=$(nginx -v 2>&1 | sed 's|.*/||; s| .*||')
    if [ "$(printf '%s\n' "$version" 1.27.5 | sort --version-sort | head -n 1)" = 1.27.5 ]; then
        nginx_serves "nginx, store:" "store:$(token_uri rsa)" "store:$(token_uri ec)"
        nginx_asks "nginx, store:" "store:$(token_uri rsa)" "store:$(token_uri ec)"
    else
        skip "nginx, store:" "nginx $version knows no store: URIs (Debian forky's does)"
    fi
fi

# apache_starts PORT
apache_starts() {
    start apache event <<END
Listen 127.0.0.1:$1
<VirtualHost *:$1>
    SSLEngine on
    SSLCertificateFile "$(token_uri rsa cert)"
    SSLCertificateKeyFile "$(token_uri rsa)"
    SSLCertificateFile "$(token_uri ec cert)"
    SSLCertificateKeyFile "$(token_uri ec)"
</VirtualHost>
END
}
apache_serves() {
    local port
    apache2 -v | head -n 1
    free_port port
    # libp11's engine goes before the provider where it is installed.
    export OPENSSL_ENGINES="$work"
    check "Apache: starts" apache_starts "$port"
    tries Apache "$port" "$work/apache/log"
    check "Apache: graceful restarts under load, with the certificates from before" restarts apache "https://localhost:$port/"
    check "Apache: stops" stop apache
    check "Apache: starts again, with the certificates from before" apache_starts "$port"
    check "Apache: answers" ready "https://localhost:$port/" "$work/apache/log"
    check "Apache: stops again" stop apache
    machine_certificates
    cat "$work/client.crt" "$work/ec.key" >"$work/client.pem"
    check "SSLProxyMachineCertificateFile: a software key" asks_backend software "$work/own.pem"
    check "SSLProxyMachineCertificateFile: impossible by a URI" asks_no_backend uri "$(token_uri ec cert)" "file .* does not exist"
    check "SSLProxyMachineCertificateFile: impossible by a file that holds a URI" asks_no_backend file "$work/client.pem" AH02206
}
if command -v apache2 >/dev/null; then apache_serves; else skip Apache "it is not installed (apt-get install apache2)"; fi
finish
