#!/usr/bin/env bash
# xmlsec1: XML signatures.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/xml_template.sh
. "$(dirname "$0")/xml_template.sh"

needs xmlsec1 xmlsec1
start_hsm
xmlsec1 --version
cd "$work" || exit

# sign_xml KEY ALGORITHM
sign_xml() {
    local before
    xml_template "$2" >"$1.xml"
    before=$(signatures "$1")
    with_provider xmlsec1 --sign --privkey-pem:key "$1.key,$1.crt" --output "$1.signed.xml" "$1.xml" || return 1
    signed "$1" "$before" 1 || return 1
    xmlsec1 --verify --trusted-pem ca.crt "$1.signed.xml" || return 1
    sed 's/stay/leave/' "$1.signed.xml" >"$1.forged.xml"
    ! xmlsec1 --verify --trusted-pem ca.crt "$1.forged.xml"
}
# Up to 1.2 an RSA key without its private number counts as a public one.
impossible() {
    local before
    before=$(signatures rsa)
    ! sign_xml rsa rsa-sha256 >sign.log 2>&1 && grep "key is not found" sign.log && signed rsa "$before" 0
}
if [[ $(xmlsec1 --version) = "xmlsec1 1.2"* ]]; then
    check "RSA: impossible, it takes the key for a public one" impossible
else
    check "signed, RSA" sign_xml rsa rsa-sha256
fi
check "signed, EC" sign_xml ec ecdsa-sha256

# by_uri KEY ALGORITHM: no key file and no certificate; whoever verifies has that
by_uri() {
    local before
    xml_template "$2" >"$1.xml"
    before=$(signatures "$1")
    with_provider xmlsec1 --sign --privkey-openssl-store:key "managedhsm:MyHSM:$1" --output "$1.signed.xml" "$1.xml" || return 1
    signed "$1" "$before" 1 || return 1
    xmlsec1 --verify --pubkey-cert-pem:key "$1.crt" "$1.signed.xml" || return 1
    sed 's/stay/leave/' "$1.signed.xml" >"$1.forged.xml"
    ! xmlsec1 --verify --pubkey-cert-pem:key "$1.crt" "$1.forged.xml"
}
if xmlsec1 --help-all 2>&1 | grep -q -- --privkey-openssl-store; then
    check "signed, RSA by URI" by_uri rsa rsa-sha256
    check "signed, EC by URI" by_uri ec ecdsa-sha256
else
    skip "xmlsec1 --privkey-openssl-store" "this version doesn't have it; Debian 14's does"
fi
finish
