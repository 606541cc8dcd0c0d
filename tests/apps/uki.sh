#!/usr/bin/env bash
# What a machine boots from: EFI programs signed by sbsign and systemd-sbsign, unified kernel images by ukify.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs sbsign sbsigntool
needs python3 python3
stub=$(find /usr/lib/systemd/boot/efi/linux*.efi.stub 2>/dev/null | head -n 1)
if [ -z "$stub" ]; then
    skip uki "no EFI program to sign is here (apt-get install systemd-boot-efi)"
    finish
fi
start_hsm
sbsign --version
cd "$work" || exit
certificate boot rsa "/CN=Boot" extendedKeyUsage=codeSigning
openssl x509 -in boot.crt -noout -pubkey >boot.pub
certificate other ec "/CN=Other" extendedKeyUsage=codeSigning
key=managedhsm:MyHSM:rsa
# systemd warns of others' rights in files of private keys.
chmod 600 boot.key

# The file signed.efi has to come of a command, by so many signatures: efi NUMBER COMMAND…
efi() {
    local before number=$1
    shift
    before=$(signatures rsa)
    rm -f signed.efi
    with_provider "$@" || return 1
    signed rsa "$before" "$number" || return 1
    sbverify --cert boot.crt signed.efi && ! sbverify --cert other.crt signed.efi
}
check "sbsign, key file" efi 1 sbsign --key boot.key --cert boot.crt --output signed.efi "$stub"

sbsign=/usr/lib/systemd/systemd-sbsign
if [ -x "$sbsign" ]; then
    "$sbsign" --version | head -n 1
    check "systemd-sbsign, URI" efi 1 "$sbsign" sign --private-key-source=provider:akv_provider --private-key="$key" \
        --certificate=boot.crt --output=signed.efi "$stub"
    check "systemd-sbsign, key file" efi 1 "$sbsign" sign --private-key=boot.key --certificate=boot.crt --output=signed.efi "$stub"
else
    skip systemd-sbsign "it is not installed (apt-get install systemd-repart of Debian 13 or newer)"
fi

# An image needs nothing that boots.
head -c 65536 /dev/urandom >initrd
image() {
    efi "$1" ukify build --stub="$stub" --linux="$stub" --uname=6.0 --no-sign-kernel --initrd=initrd --cmdline=quiet --os-release=ID=test \
        --signtool=systemd-sbsign --signing-provider=akv_provider --secureboot-private-key="$key" --secureboot-certificate=boot.crt \
        --output=signed.efi "${@:2}"
}
# Signatures of what the TPM will have measured: one for each bank and phase.
measured() {
    image "$1" --pcr-private-key="$key" "${public[@]}" --pcr-banks=sha256 --phases="enter-initrd enter-initrd:leave-initrd" || return 1
    python3 - <<'PYTHON' || return 1
import base64, json, pefile
for section in pefile.PE("signed.efi").sections:
    if section.Name.rstrip(b"\0") == b".pcrsig":
        signed = json.loads(section.get_data().rstrip(b"\0"))["sha256"]
assert len(signed) == 2, signed
for number, one in enumerate(signed):
    open(f"policy.{number}", "wb").write(bytes.fromhex(one["pol"]))
    open(f"signature.{number}", "wb").write(base64.b64decode(one["sig"]))
PYTHON
    openssl dgst -sha256 -verify boot.pub -signature signature.0 policy.0 && openssl dgst -sha256 -verify boot.pub -signature signature.1 policy.1 &&
        ! openssl dgst -sha256 -verify boot.pub -signature signature.0 policy.1
}
if ! command -v ukify >/dev/null; then
    skip ukify "it is not installed (apt-get install systemd-ukify of Debian 13 or newer)"
else
    check "ukify, URI" image 1
    # systemd 257 takes the certificate by the option for public keys.
    public=(--pcr-certificate=boot.crt)
    ukify --help | grep -q -- --pcr-certificate || public=(--pcr-public-key=boot.crt)
    if [ -x /usr/lib/systemd/systemd-measure ] && ldconfig -p | grep -q libtss2-esys; then
        check "ukify and systemd-measure, URI: policies of PCR 11" measured 3
    else
        skip systemd-measure "it or libtss2-esys is not installed (apt-get install systemd-tpm; in Debian 13 systemd, libtss2-esys-3.0.2-0t64 and libtss2-rc0t64)"
    fi
fi
finish
