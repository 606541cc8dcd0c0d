#!/usr/bin/env bash
# Servers by pkcs11-provider: nginx by key files that hold a URI, and where it knows them by store: URIs; Apache httpd by pkcs11: URIs
# for certificate and key.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/../apps/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/../apps/tokens.sh"
# shellcheck source=tests/apps/httpd.sh
. "$(dirname "$0")/../apps/httpd.sh"

needs_engine
start_token
token_certificate rsa rsa
token_certificate ec ec
chmod 644 "$MHSM_PKCS11_CONF"
provider_conf
for key in rsa ec; do
    token_pem "$key"
done

# What a server has to do: tries NAME PORT LOG
tries() {
    local before=$failed
    check "$1: answers" ready "https://localhost:$2/" "$3"
    [ "$failed" -eq "$before" ] || return
    handshakes "$1" "$2" rsa ec
    check "$1: 24 requests, 8 at a time" many "https://localhost:$2/" 24
    check "$1: the HSM restarts under load" hsm_restarts page "https://localhost:$2/"
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
    check "$1: reloads under load" reloads "https://localhost:$port/"
    check "$1: stops" end_process "$pid" QUIT
}
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
if ! command -v nginx >/dev/null; then
    skip nginx "it is not installed (apt-get install nginx-light)"
else
    nginx -v
    nginx_serves nginx "$work/rsa.key" "$work/ec.key"
    version=$(nginx -v 2>&1 | sed 's|.*/||; s| .*||')
    if [ "$(printf '%s\n' "$version" 1.27.5 | sort --version-sort | head -n 1)" = 1.27.5 ]; then
        nginx_serves "nginx, store:" "store:$(token_uri rsa)" "store:$(token_uri ec)"
    else
        skip "nginx, store:" "nginx $version knows no store: URIs (Debian forky's does)"
    fi
fi

graceful() {
    local before
    before=$(workers)
    kill -USR1 "$pid"
    wait_until 30 has_other_workers "$before" && ready "$1" "$work/apache/log" && many "$1" 8
}
apache_serves() {
    local port
    apache2 -v | head -n 1
    free_port port
    configure apache event <<END
Listen 127.0.0.1:$port
<VirtualHost *:$port>
    SSLEngine on
    SSLCertificateFile "$(token_uri rsa cert)"
    SSLCertificateKeyFile "$(token_uri rsa)"
    SSLCertificateFile "$(token_uri ec cert)"
    SSLCertificateKeyFile "$(token_uri ec)"
</VirtualHost>
END
    # libp11's engine goes before the provider where it is installed.
    OPENSSL_ENGINES="$work" launch "$work/apache.out" apache2 -d "$work/apache" -f "$work/apache.conf" -DFOREGROUND
    tries Apache "$port" "$work/apache/log"
    check "Apache: graceful restart" graceful "https://localhost:$port/"
    check "Apache: stops" end_process "$pid" WINCH
}
if command -v apache2 >/dev/null; then apache_serves; else skip Apache "it is not installed (apt-get install apache2)"; fi
finish
