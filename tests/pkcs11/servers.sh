#!/usr/bin/env bash
# Servers by pkcs11-provider: nginx by key files that hold a URI, Apache httpd by pkcs11: URIs for certificate and key.
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

nginx_serves() {
    local port kind temporary=()
    nginx -v
    free_port port
    for kind in client_body proxy fastcgi uwsgi scgi; do temporary+=("${kind}_temp_path $work/$kind;"); done
    cat >"$work/nginx.conf" <<END
daemon off; worker_processes 2; user root; pid $work/pid; error_log $work/nginx.log;
env MHSM_PKCS11_CONF; env AZURE_CLI_ACCESS_TOKEN; env AKV_CA_FILE; env AZURE_MANAGEDHSM_URL;
events {}
http {
    access_log off; ${temporary[*]}
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $work/rsa.crt; ssl_certificate_key $work/rsa.key;
        ssl_certificate $work/ec.crt; ssl_certificate_key $work/ec.key;
        ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
        location / { return 200 served; }
    }
}
END
    # Its workers start the module anew, with what is left to them of the environment.
    launch "$work/nginx.out" nginx -p "$work" -e "$work/nginx.log" -c "$work/nginx.conf"
    tries nginx "$port" "$work/nginx.log"
    check "nginx: stops" end_process "$pid" QUIT
}
if command -v nginx >/dev/null; then nginx_serves; else skip nginx "it is not installed (apt-get install nginx-light)"; fi

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
    check "Apache: stops" end_process "$pid" WINCH
}
if command -v apache2 >/dev/null; then apache_serves; else skip Apache "it is not installed (apt-get install apache2)"; fi
finish
