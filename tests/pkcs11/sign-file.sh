#!/usr/bin/env bash
# Kernel modules, signed by the kernel's own sign-file with pkcs11-provider: it has engines no more.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/../apps/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/../apps/tokens.sh"

# The newest of those that are installed; kernels have it in a folder of their own.
program=$(find /usr/lib/linux-kbuild-*/scripts/sign-file 2>/dev/null | sort -V | tail -n 1)
needs "${program:-sign-file}" "linux-kbuild-VERSION"
needs python3 python3
needs_engine
start_token
echo "$program"
for key in rsa ec; do
    token_certificate "$key" "$key" /CN=Modules extendedKeyUsage=codeSigning
done
provider_conf
cd "$work" || exit
# Any file: what is signed is not looked at.
head -c 65536 /dev/urandom >module

# The signature at the end of a file has to be of what is before it.
verify() {
    openssl cms -verify -binary -inform DER -in signature.der -content "$1" -certfile "$2.crt" -CAfile ca.crt -purpose any -out /dev/null
}
signs_module() {
    local before
    before=$(signatures "$1")
    with_provider "$program" sha256 "$(token_uri "$1")" "$1.crt" module signed.ko || return 1
    signed "$1" "$before" 1 && python3 "$repository/tests/apps/appended_signature.py" signed.ko signature.der content &&
        cmp content module && verify content "$1" || return 1
    (cat content && echo changed) >changed
    ! verify changed "$1"
}
for key in rsa ec; do
    check "sign-file signs a kernel module, $key" signs_module "$key"
done
finish
