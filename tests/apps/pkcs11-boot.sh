#!/usr/bin/env bash
# What a machine boots from and updates itself with, signed by PKCS#11: EFI programs by sbsign, bundles by RAUC, kernel modules by the
# kernel's own sign-file.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"
# shellcheck source=tests/apps/rauc_content.sh
. "$(dirname "$0")/rauc_content.sh"

needs_engine
start_token
cd "$work" || exit
token_certificate boot rsa "/CN=Boot" extendedKeyUsage=codeSigning
token_certificate other ca "/CN=Other" extendedKeyUsage=codeSigning
create_key update '{"kty":"EC-HSM","crv":"P-256"}'
token_certificate update update "/CN=Signer" extendedKeyUsage=emailProtection

signs_program() {
    local before
    before=$(signatures rsa)
    with_provider sbsign --engine pkcs11 --key "$(token_uri rsa)" --cert boot.crt --output signed.efi "$stub" || return 1
    signed rsa "$before" 1 && sbverify --cert boot.crt signed.efi && ! sbverify --cert other.crt signed.efi
}
stub=$(find /usr/lib/systemd/boot/efi/linux*.efi.stub 2>/dev/null | head -n 1)
if ! command -v sbsign >/dev/null; then
    skip sbsign "it is not installed (apt-get install sbsigntool)"
elif [ -z "$stub" ]; then
    skip sbsign "no EFI program to sign is here (apt-get install systemd-boot-efi)"
else
    check "sbsign signs an EFI program" signs_program
fi

# Certificate and key by their URIs.
bundle() {
    local before
    before=$(signatures update)
    RAUC_PKCS11_MODULE=$token_module with_provider rauc bundle --cert="$(token_uri update cert)" --key="$(token_uri update)" --keyring=ca.crt \
        content update.raucb || return 1
    signed update "$before" 1 && rauc info --keyring=ca.crt update.raucb && ! rauc info --keyring=other.crt update.raucb
}
if command -v rauc >/dev/null && command -v mksquashfs >/dev/null; then
    rauc_content
    check "RAUC signs a bundle" bundle
else
    skip RAUC "it, or squashfs-tools, is not installed (apt-get install rauc squashfs-tools)"
fi

# The newest of those that are installed; kernels have it in a folder of their own.
program=$(find /usr/lib/linux-kbuild-*/scripts/sign-file /usr/src/linux-headers-*/scripts/sign-file 2>/dev/null | sort -V | tail -n 1)
signs_module() {
    local before
    before=$(signatures rsa)
    head -c 65536 /dev/urandom >module
    with_provider "$program" sha256 "$(token_uri rsa)" boot.crt module signed.ko || return 1
    signed rsa "$before" 1 && python3 "$repository/tests/apps/appended_signature.py" signed.ko signature.der unsigned && cmp unsigned module &&
        openssl cms -verify -binary -inform DER -in signature.der -content unsigned -certfile boot.crt -CAfile ca.crt -purpose any -out /dev/null
}
if [ -n "$program" ] && grep -q OSSL_PROVIDER_try_load "$program" && [ ! -e "$(openssl version -m | cut -d'"' -f2)/pkcs11.so" ]; then
    skip sign-file "that of newer kernels has no engines, and pkcs11-provider is not installed (apt-get install pkcs11-provider of Debian 13)"
elif [ -n "$program" ] && command -v python3 >/dev/null; then
    check "sign-file signs a kernel module" signs_module
else
    skip sign-file "it, or python3, is not installed (apt-get install linux-kbuild-VERSION python3)"
fi
finish
