#!/usr/bin/env bash
# Programs whose TLS is GnuTLS in Debian: impossible, as that knows no OpenSSL providers. wget, and all that use libldap (OpenLDAP).
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs wget wget
start_hsm
wget --version | head -n 1
uses_gnutls() {
    local libraries
    libraries=$(ldd "$1") || return 1
    grep libgnutls <<<"$libraries" && ! grep libssl <<<"$libraries"
}
check "wget is linked with GnuTLS" uses_gnutls "$(command -v wget)"
software_certificate software
free_port port
launch "$work/server.log" openssl s_server -www -accept "127.0.0.1:$port" -cert "$work/rsa.crt" -key "$work/rsa.key" -CAfile "$work/ca.crt" -Verify 2
wait_until 20 port_is_open "$port"
fetches() { with_provider wget --quiet --output-document=- --tries=1 --timeout=30 --ca-certificate="$work/ca.crt" "$@" "https://localhost:$port/"; }
with_software_key() { fetches --certificate="$work/software.crt" --private-key="$work/software.key" | grep -q Cipher; }
check "wget: a software key answers for the client" with_software_key
refused() {
    local before
    before=$(signatures ec)
    ! fetches --certificate="$work/client.crt" --private-key="$work/client.key" && signed ec "$before" 0
}
check "wget: impossible, it doesn't read the key file" refused

libldap=$(ldconfig -p | sed -n 's/.*libldap[-0-9.r_]*\.so\.[0-9.]* .*=> //p' | head -n 1)
if [ -n "$libldap" ] && ldd "$libldap" | grep -q libssl; then
    skip "OpenLDAP" "${libldap##*/} is linked with OpenSSL here, and nothing tries it yet"
elif [ -n "$libldap" ]; then
    check "OpenLDAP: impossible, ${libldap##*/} is linked with GnuTLS" uses_gnutls "$libldap"
else
    skip "OpenLDAP" "libldap is not installed"
fi
finish
