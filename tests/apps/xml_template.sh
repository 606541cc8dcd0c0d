# shellcheck shell=bash
# What xmlsec1 signs, for a test. Sourced, not run.
#
#   xml_template ALGORITHM     prints a document that is to be signed so with the key `key`

xml_template() {
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
