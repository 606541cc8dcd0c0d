#!/usr/bin/env bash
# Chromium, which finds tokens by NSS, shows a server the certificate of a key in the HSM.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs chromium chromium
needs modutil libnss3-tools
needs_engine
if [ "$(id -u)" -ne 0 ] || [ ! -d /etc/chromium ]; then
    skip "Chromium" "its policy, by which it asks nobody for the certificate, is given in a mount namespace of root's"
    finish
fi
chromium --version 2>/dev/null
start_token
cd "$work" || exit
mkdir -p home/.pki/nssdb chromium/policies/managed
export HOME=$work/home
certutil -d "sql:$HOME/.pki/nssdb" -N --empty-password
added() { modutil -force -dbdir "sql:$HOME/.pki/nssdb" -add akv -libfile "$token_module"; }
check "modutil adds the module" added

openssl req -x509 -newkey rsa:2048 -noenc -keyout tls.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 -out tls.crt 2>/dev/null
certutil -A -d "sql:$HOME/.pki/nssdb" -n "Test server" -t P,, -i tls.crt

# The page of s_server tells the client's certificate.
browse() {
    # shellcheck disable=SC2016
    unshare --mount -- sh -c 'mount --bind "$0" /etc/chromium && exec "$@"' "$work/chromium" \
        timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
        --disable-background-networking --user-data-dir="$work/profile-$1" --dump-dom "https://localhost:$port/" 2>>chromium.log
}
# Every browser starts anew, and loads the module again.
shows() {
    local before page
    free_port port
    printf '{"AutoSelectCertificateForUrls": ["{\\"pattern\\":\\"https://localhost:%d\\",\\"filter\\":{\\"SUBJECT\\":{\\"CN\\":\\"%s\\"}}}"]}\n' \
        "$port" "$1" >chromium/policies/managed/certificates.json
    launch s_server.log openssl s_server -www "-$2" -accept "127.0.0.1:$port" -cert tls.crt -key tls.key -CAfile ca.crt -Verify 2 -verify_return_error
    wait_until 20 port_is_open "$port" || { cat s_server.log; return 1; }
    before=$(signatures "$1")
    page=$(browse "$1")
    if ! grep -q "Subject:.*CN *= *$1" <<<"$page"; then
        echo "$page" | head -n 40
        tail -n 5 s_server.log chromium.log
        return 1
    fi
    signed "$1" "$before" 1
    end_process "$pid"
}
create_key client-rsa '{"kty":"RSA-HSM","key_size":2048}'
create_key client-ec '{"kty":"EC-HSM","crv":"P-256"}'
for name in client-rsa client-ec; do
    token_certificate "$name" "$name" "/CN=$name" extendedKeyUsage=clientAuth
done
for tls in tls1_3 tls1_2; do
    for name in client-rsa client-ec; do
        check "a client by a certificate on the token, $name, $tls" shows "$name" "$tls"
    done
done
finish
