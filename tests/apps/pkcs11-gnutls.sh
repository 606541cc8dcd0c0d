#!/usr/bin/env bash
# Programs whose TLS is GnuTLS, which finds the module by p11-kit: wget with a certificate and a key as pkcs11: URIs.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs wget wget
needs p11tool gnutls-bin
needs_engine
start_token
wget --version | head -n 1
token_certificate rsa rsa /CN=client extendedKeyUsage=clientAuth
token_certificate ec ec /CN=client extendedKeyUsage=clientAuth
token_home
sees() { in_token_home p11tool --list-all "pkcs11:token=hsm" | tee "$work/list" | grep "object=ec;type=private"; }
check "p11tool finds the module by p11-kit" sees

software_server() {
    openssl req -x509 -newkey rsa:2048 -noenc -keyout "$work/server.key" -out "$work/server.crt" -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost 2>/dev/null
}
software_server
free_port port
launch "$work/server.log" openssl s_server -www -accept "127.0.0.1:$port" -cert "$work/server.crt" -key "$work/server.key" \
    -CAfile "$work/ca.crt" -Verify 2 -verify_return_error
wait_until 20 port_is_open "$port"
# fetches VERSION KEY
fetches() {
    local before
    before=$(signatures "$2")
    in_token_home wget --quiet --output-document="$work/page" --tries=1 --timeout=30 --ca-certificate="$work/server.crt" \
        --ciphers="NORMAL:-VERS-ALL:+VERS-TLS$1" --certificate="$(token_uri "$2" cert)" --private-key="$(token_uri "$2")" \
        "https://localhost:$port/" || return 1
    grep -q "Subject: CN *= *client" "$work/page" || { head -n 30 "$work/page"; return 1; }
    # GnuTLS signs once before, to see whether key and certificate belong together.
    signed "$2" "$before" 2
}
for version in 1.2 1.3; do
    for key in rsa ec; do
        check "wget: a client's certificate, TLS $version, $key" fetches "$version" "$key"
    done
done
finish
