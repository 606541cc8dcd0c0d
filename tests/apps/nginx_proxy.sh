# shellcheck shell=bash
# nginx in front of itself, with a certificate of its own as a client. Sourced after harness.sh, not run.
#
#   paths NAME                          prints the settings that keep an instance's files in its own names
#   proxying NAME FRONT BACK KEY CLIENT_KEY    prints the section http: at BACK a server with the certificate rsa and KEY, which wants a
#                                       client's; at FRONT a proxy to it with the certificate client and CLIENT_KEY
#   proxies FRONT BACK LOG KEY [TITLE]  checks, once it has started, that the server knows the client, whose KEY signs, and no others

paths() { printf '%s_temp_path %s/%s;\n' client_body "$work" "$1" proxy "$work" "$1" fastcgi "$work" "$1" uwsgi "$work" "$1" scgi "$work" "$1"; }

proxying() {
    cat <<END
http {
    $(paths "$1")
    access_log off;
    server {
        listen 127.0.0.1:$3 ssl;
        ssl_certificate $work/rsa.crt;
        ssl_certificate_key "$4";
        ssl_client_certificate $work/ca.crt;
        ssl_verify_client on;
        location / { return 200 "\$ssl_client_verify \$ssl_client_s_dn\n"; }
    }
    server {
        listen 127.0.0.1:$2;
        location / {
            proxy_pass https://127.0.0.1:$3;
            proxy_ssl_certificate $work/client.crt;
            proxy_ssl_certificate_key "$5";
            proxy_ssl_trusted_certificate $work/ca.crt;
            proxy_ssl_verify on;
            proxy_ssl_name localhost;
            proxy_ssl_session_reuse off;
        }
    }
}
END
}

proxied() {
    local before
    before=$(signatures "$2")
    [ "$(page "http://localhost:$1/")" = "SUCCESS CN=client" ] && signed "$2" "$before" 1
}
not_proxied() { ! page "https://localhost:$1/" && page --insecure "https://localhost:$1/" -w '%{http_code}' --no-fail | grep -q 400; }
proxies() {
    local title="${5:+$5: }proxy_ssl_certificate_key"
    check "$title: answers" ready "http://localhost:$1/" "$3"
    check "$title: the backend knows the client, whose key signs" proxied "$1" "$4"
    check "$title: the backend refuses others" not_proxied "$2"
}
