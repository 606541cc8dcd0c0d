#!/usr/bin/env bash
# Apache httpd by libp11's engine: certificate and key as pkcs11: URIs, prefork and event, graceful restarts, renewals of tokens,
# rotations of keys.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs apache2 apache2
needs_engine
emulator_options=("${short_lived[@]}")
start_token
echo "$(apache2 -v | head -n 1), $(openssl version | cut -d' ' -f1,2)"
if [ "$(id -u)" -eq 0 ]; then
    # What keeps others from the keys is who may log in, not who may read this.
    chmod 644 "$MHSM_PKCS11_CONF"
fi
# shellcheck source=tests/apps/httpd.sh
. "$(dirname "$0")/httpd.sh"
log_in

# Another httpd with the configuration of one, but for its port: by_label_refused NAME PORT
by_label_refused() {
    local own
    free_port own
    ! sed -n '/^Listen/,$p' "$work/$1.conf" | sed "s/\<$2\>/$own/" | start label event || return 1
    grep "key values mismatch" "$work/label/log"
}
# names_by_id NAME
names_by_id() {
    local key
    for key in rsa ec; do
        sed -i "s|$(token_uri "$key")|$(token_uri_by_id "$key")|" "$work/$1.conf"
    done
}

for mpm in prefork event; do
    # Of the newest versions, as the last server has left them.
    token_certificate rsa rsa
    token_certificate ec ec
    free_port port
    check "$mpm: starts" start "$mpm" "$mpm" <<END
Listen 127.0.0.1:$port
<VirtualHost *:$port>
    SSLEngine on
    SSLCertificateFile "$(token_uri rsa cert)"
    SSLCertificateKeyFile "$(token_uri rsa)"
    SSLCertificateFile "$(token_uri ec cert)"
    SSLCertificateKeyFile "$(token_uri ec)"
</VirtualHost>
END
    check "$mpm: answers" ready "https://localhost:$port/" "$work/$mpm/log"
    handshakes "$mpm" "$port" rsa ec
    check "$mpm: 24 requests, 8 at a time" many "https://localhost:$port/" 24
    check "$mpm: graceful restarts under load" restarts "$mpm" "https://localhost:$port/"
    check "$mpm: the HSM restarts under load" hsm_restarts page "https://localhost:$port/"
    check "$mpm: tokens are renewed under load" renewals 6 page "https://localhost:$port/"
    check "$mpm: keys rotate under load" rotations "rsa ec" 3 page "https://localhost:$port/"
    # By the same label there are newer versions now, which the certificates are not for, and libp11 takes the newest.
    check "$mpm: with the certificates from before, keys by their labels are refused" by_label_refused "$mpm" "$port"
    names_by_id "$mpm"
    check "$mpm: graceful restarts under load, with the certificates from before, keys by their ids" restarts "$mpm" "https://localhost:$port/"
    check "$mpm: stops" stop "$mpm"
done

# Its own certificate towards a backend is one that a file holds, with its key.
machine_certificates
check "SSLProxyMachineCertificateFile: a software key" asks_backend software "$work/own.pem"
check "SSLProxyMachineCertificateFile: impossible, httpd looks for a file" asks_no_backend uri "$(token_uri ec cert)" \
    "SSLProxyMachineCertificateFile: file .*/$(token_uri ec cert)' does not exist"
finish
