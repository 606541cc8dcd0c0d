#!/usr/bin/env bash
# What a machine boots from and updates itself with, signed by PKCS#11: EFI programs by sbsign, bundles by RAUC. Kernel modules are
# signed in Debian 13 (tests/pkcs11/sign-file.sh).
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
finish
