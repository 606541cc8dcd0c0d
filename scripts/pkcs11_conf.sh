# shellcheck shell=bash
# How OpenSSL is led to keys by a PKCS#11 module: what tests and benchmarks write. Sourced, not run.
#
#   installed_as NAME MODULE      a configuration as packages install it (packaging/files/pkcs11), but for a module that lies at MODULE
#   uri_pem URI NAME              a key file of pkcs11-provider's; NAME.asn1 and NAME.der are written on the way

installed_as() { sed "s|/usr/lib/libmhsm-pkcs11\.so|$2|" "packaging/files/pkcs11/$1"; }

uri_pem() {
    printf '%s\n' asn1=SEQUENCE:key '[key]' 'description=VISIBLESTRING:PKCS\#11 Provider URI v1.0' "uri=UTF8:$1" >"$2.asn1"
    openssl asn1parse -genconf "$2.asn1" -noout -out "$2.der"
    echo "-----BEGIN PKCS#11 PROVIDER URI-----"
    openssl base64 -in "$2.der"
    echo "-----END PKCS#11 PROVIDER URI-----"
}
