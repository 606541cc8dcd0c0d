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
    check "$mpm: stops" stop "$mpm"
done

# Its own certificate towards a backend is one that a file holds, with its key.
free_port port
refused() {
    ! start proxy event && grep "SSLProxyMachineCertificateFile: file .*/$(token_uri ec cert)' does not exist" "$work/proxy.err"
}
check "SSLProxyMachineCertificateFile: impossible, httpd looks for a file" refused <<END
Listen 127.0.0.1:$port
<VirtualHost *:$port>
    SSLProxyEngine on
    SSLProxyMachineCertificateFile "$(token_uri ec cert)"
</VirtualHost>
END
finish
