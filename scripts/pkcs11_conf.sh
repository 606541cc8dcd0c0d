# shellcheck shell=bash
# How OpenSSL is led to keys by a PKCS#11 module: what tests and benchmarks write. Sourced, not run.
#
#   engine_cnf ENGINE MODULE      an openssl.cnf for libp11's engine, which lies at ENGINE
#   provider_cnf PROVIDER MODULE  one for pkcs11-provider, which lies at PROVIDER
#   uri_pem URI NAME              a key file of pkcs11-provider's; NAME.asn1 and NAME.der are written on the way

engine_cnf() {
    cat <<END
openssl_conf = init
[init]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
dynamic_path = $1
MODULE_PATH = $2
init = 1
[req]
distinguished_name = name
[name]
END
}

provider_cnf() {
    cat <<END
openssl_conf = init
[init]
providers = providers
[providers]
default = openssl
pkcs11 = tokens
[openssl]
activate = 1
[tokens]
module = $1
pkcs11-module-path = $2
activate = 1
[req]
distinguished_name = name
[name]
END
}

uri_pem() {
    printf '%s\n' asn1=SEQUENCE:key '[key]' 'description=VISIBLESTRING:PKCS\#11 Provider URI v1.0' "uri=UTF8:$1" >"$2.asn1"
    openssl asn1parse -genconf "$2.asn1" -noout -out "$2.der"
    echo "-----BEGIN PKCS#11 PROVIDER URI-----"
    openssl base64 -in "$2.der"
    echo "-----END PKCS#11 PROVIDER URI-----"
}
