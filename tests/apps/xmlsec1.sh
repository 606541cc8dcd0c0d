#!/usr/bin/env bash
# xmlsec1: XML signatures.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs xmlsec1 xmlsec1
start_hsm
xmlsec1 --version
cd "$work" || exit

# template ALGORITHM
template() {
    cat <<END
<?xml version="1.0"?>
<note>
  <text>Keys stay in the HSM.</text>
  <Signature xmlns="http://www.w3.org/2000/09/xmldsig#">
    <SignedInfo>
      <CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>
      <SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#$1"/>
      <Reference URI="">
        <Transforms><Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/></Transforms>
        <DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>
        <DigestValue/>
      </Reference>
    </SignedInfo>
    <SignatureValue/>
    <KeyInfo><KeyName>key</KeyName><X509Data/></KeyInfo>
  </Signature>
</note>
END
}
# sign_xml KEY ALGORITHM
sign_xml() {
    local before
    template "$2" >"$1.xml"
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
    template "$2" >"$1.xml"
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
