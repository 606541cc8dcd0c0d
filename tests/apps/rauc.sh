#!/usr/bin/env bash
# RAUC: signed bundles.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/rauc_content.sh
. "$(dirname "$0")/rauc_content.sh"

needs rauc rauc
needs mksquashfs squashfs-tools
start_hsm
rauc --version
cd "$work" || exit
# RAUC wants a signer that may sign mail, or code where its configuration says so.
certificate signer rsa "/CN=Signer" extendedKeyUsage=emailProtection
certificate signer-ec ec "/CN=Signer" extendedKeyUsage=emailProtection
rauc_content

# valid BUNDLE: by its CA, and by no other
valid() {
    rauc info --keyring=ca.crt "$1" && ! rauc info --keyring=rsa.crt "$1"
}
# bundle KEY CERTIFICATE
bundle() {
    local before
    before=$(signatures "$1")
    with_provider rauc bundle --cert="$2.crt" --key="$2.key" --keyring=ca.crt content "$1.raucb" || return 1
    signed "$1" "$before" 1 && valid "$1.raucb"
}
check "bundle, RSA" bundle rsa signer
check "bundle, EC" bundle ec signer-ec
resign() {
    local before
    before=$(signatures ec)
    with_provider rauc resign --cert=signer-ec.crt --key=signer-ec.key --keyring=ca.crt rsa.raucb resigned.raucb || return 1
    signed ec "$before" 1 && valid resigned.raucb
}
check "bundle signed again, EC" resign
forged() {
    cp rsa.raucb forged.raucb
    printf 'forged' | dd of=forged.raucb bs=1 seek=4096 conv=notrunc status=none
    ! rauc extract --keyring=ca.crt forged.raucb extracted
}
check "a changed bundle is refused" forged
finish
