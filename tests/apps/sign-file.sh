#!/usr/bin/env bash
# sign-file, the kernel's program that signs its modules.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

# The newest of those that are installed; kernels have it in a folder of their own.
program=$(find /usr/lib/linux-kbuild-*/scripts/sign-file /usr/src/linux-headers-*/scripts/sign-file 2>/dev/null | sort -V | tail -n 1)
needs "${program:-sign-file}" "linux-kbuild-VERSION"
needs python3 python3
start_hsm
echo "$program"
cd "$work" || exit
certificate modules rsa "/CN=Modules"
certificate modules-ec ec "/CN=Modules"
# Any file: what is signed is not looked at.
head -c 65536 /dev/urandom >module

# The signature at the end of a file has to be of what is before it: verify FILE CERTIFICATE
verify() {
    python3 "$repository/tests/apps/appended_signature.py" "$1" signature.der content && openssl cms -verify -binary -inform DER \
        -in signature.der -content content -certfile "$2" -CAfile ca.crt -purpose any -out /dev/null
}
# sign_module KEY CERTIFICATE HASH
sign_module() {
    local before
    before=$(signatures "$1")
    with_provider "$program" "$3" "$2.key" "$2.crt" module signed.ko || return 1
    signed "$1" "$before" 1 && verify signed.ko "$2.crt" && cmp content module || return 1
    (cat content && echo changed) >changed
    ! openssl cms -verify -binary -inform DER -in signature.der -content changed -certfile "$2.crt" -CAfile ca.crt \
        -purpose any -out /dev/null
}
check "RSA, SHA-256" sign_module rsa modules sha256
check "RSA, SHA-512" sign_module rsa modules sha512
check "EC, SHA-384" sign_module ec modules-ec sha384
finish
