#!/usr/bin/env bash
# NSS: certutil lists and makes keys, and issues certificates that stay on the token; cmsutil signs messages, pesign EFI programs.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"
# shellcheck source=tests/apps/xml_template.sh
. "$(dirname "$0")/xml_template.sh"

needs certutil libnss3-tools
needs_engine
start_token
cd "$work" || exit
token_certificate code rsa "/CN=Signer" extendedKeyUsage=codeSigning
token_certificate mail ec "/CN=Writer" $'extendedKeyUsage=emailProtection\nsubjectAltName=email:writer@localhost'
mkdir nss
certutil -N -d sql:nss --empty-password
added() { modutil -force -dbdir sql:nss -add akv -libfile "$token_module" && modutil -dbdir sql:nss -list akv | tee list | grep "Token Name: *hsm"; }
check "modutil adds the module" added
listed() { certutil -K -d sql:nss -h hsm | tee list && grep -q '\bec\b' list && grep -q '\brsa\b' list; }
check "certutil lists keys" listed
certified() { certutil -L -d sql:nss -h hsm | tee list && grep -q 'hsm:rsa' list && grep -q 'hsm:ec' list; }
check "certutil lists the certificate of the token" certified
trusted() { certutil -A -d sql:nss -n "Test CA" -t CT,C,C -i ca.crt; }
check "certutil trusts the CA" trusted
head -c 64 /dev/urandom >noise
# A key and its certificate, both on the token.
makes() {
    local before
    before=$(signatures "p11-[0-9a-f]*")
    expects_keys 1
    certutil -S -d sql:nss -h hsm -n made -s "CN=Made" -x -t ,, -k ec -q nistp256 -z noise -v 2 || return 1
    # One to see that both halves of the key belong together.
    signed "p11-[0-9a-f]*" "$before" 2 && [ "$(find written -name '*.pem' | wc -l)" -eq 1 ] && certutil -L -d sql:nss -h hsm | grep 'hsm:made'
}
check "certutil makes a key and a certificate on the token" makes
destroys() { certutil -D -d sql:nss -h hsm -n hsm:made && [ "$(find written -name '*.pem' | wc -l)" -eq 0 ]; }
check "certutil removes the certificate" destroys

signs_message() {
    local before
    before=$(signatures ec)
    cmsutil -S -d sql:nss -N hsm:ec -H SHA256 -i message.txt -o message.cms || return 1
    signed ec "$before" 1 && openssl cms -verify -inform DER -in message.cms -CAfile ca.crt -purpose any -out opened 2>&1 &&
        cmp opened message.txt
}
if command -v cmsutil >/dev/null; then
    check "cmsutil signs a message" signs_message
else
    skip "cmsutil" "it is not installed (apt-get install libnss3-tools)"
fi

signs_program() {
    local before
    before=$(signatures rsa)
    pesign --certdir nss --nss-token hsm --certficate rsa --sign --digest_type=sha256 --in program.exe --out signed.exe --force || return 1
    # One for the length of the signature.
    signed rsa "$before" 2 && pesign --show-signature --in signed.exe | grep Signer || return 1
    ! command -v osslsigncode >/dev/null || osslsigncode verify -CAfile ca.crt -in signed.exe
}
if command -v pesign >/dev/null && command -v python3 >/dev/null; then
    python3 "$repository/tests/apps/smallest_program.py" program.exe
    check "pesign signs an EFI program" signs_program
else
    skip "pesign" "it, or python3, is not installed (apt-get install pesign python3)"
fi

# A TLS client by a key on the token: one signature, and the server has seen its certificate.
connects() {
    local port before
    free_port port
    launch s_server.log openssl s_server -www -accept "127.0.0.1:$port" -cert tls.crt -key tls.key -CAfile ca.crt -Verify 2 -verify_return_error
    wait_until 20 port_is_open "$port" || { cat s_server.log; return 1; }
    before=$(signatures "$1")
    timeout 60 tstclnt -d sql:nss -h localhost -4 -p "$port" -n "hsm:$1" -Q </dev/null || { cat s_server.log; return 1; }
    signed "$1" "$before" 1 && grep -q "CN *= *$1" s_server.log || return 1
    end_process "$pid"
}
if command -v tstclnt >/dev/null; then
    openssl req -x509 -newkey rsa:2048 -noenc -keyout tls.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 -out tls.crt 2>/dev/null
    certutil -A -d sql:nss -n "Test server" -t P,, -i tls.crt
    create_key client-rsa '{"kty":"RSA-HSM","key_size":2048}'
    create_key client-ec '{"kty":"EC-HSM","crv":"P-256"}'
    for name in client-rsa client-ec; do
        token_certificate "$name" "$name" "/CN=$name" extendedKeyUsage=clientAuth
        check "tstclnt, a TLS client by a certificate on the token, $name" connects "$name"
    done
else
    skip "tstclnt" "it is not installed (apt-get install libnss3-tools)"
fi

# PKCS#12 would take the private key out, or bring one in from outside. NSS's own database lets both happen with the same file.
by_nss_itself() { pk12util -i in.p12 -d sql:nss -W password && pk12util -o own.p12 -n brought -d sql:nss -W password; }
exports_nothing() {
    ! pk12util -o out.p12 -n hsm:ec -d sql:nss -W password >out.log 2>&1 && cat out.log &&
        grep -q SEC_ERROR_PKCS12_UNABLE_TO_EXPORT_KEY out.log && [ ! -e out.p12 ]
}
imports() { grep -c "method=PUT path=/keys/" "$requests"; }
has_imported() { [ "$(imports)" -eq "$1" ]; }
imports_nothing() {
    local before
    before=$(imports)
    ! pk12util -i in.p12 -h hsm -d sql:nss -W password >in.log 2>&1 && cat in.log && [ "$(imports)" -eq "$before" ] &&
        grep -q "C_CreateObject: keys are born in the HSM.*allowImport" in.log && grep -q SEC_ERROR_PKCS12_UNABLE_TO_IMPORT_KEY in.log
}
# The key comes in once. NSS gives up over its certificate then.
imports_a_key() {
    local before
    before=$(imports)
    expects_keys 1
    sed 's/^{/{"allowImport": true, /' "$MHSM_PKCS11_CONF" >importing.conf
    ! MHSM_PKCS11_CONF=$work/importing.conf pk12util -i in.p12 -h hsm -d sql:nss -W password >in.log 2>&1 && cat in.log
    grep -q SEC_ERROR_ADDING_CERT in.log && has_imported "$((before + 1))"
}
if command -v pk12util >/dev/null; then
    openssl req -x509 -newkey rsa:2048 -noenc -keyout brought.key -subj /CN=brought -days 2 -out brought.crt 2>/dev/null
    openssl pkcs12 -export -in brought.crt -inkey brought.key -passout pass:password -name brought -out in.p12
    check "pk12util -o: no private key leaves the HSM" exports_nothing
    check "pk12util -i: none comes in that the configuration doesn't allow" imports_nothing
    check "pk12util -i: with allowImport the key comes in, and its certificate doesn't" imports_a_key
    check "pk12util -i and -o with NSS's own database" by_nss_itself
else
    skip "pk12util" "it is not installed (apt-get install libnss3-tools)"
fi

# xmlsec's library for NSS, by a program of a few lines: by_nss_library KEY ALGORITHM NICKNAME
by_nss_library() {
    local before
    before=$(signatures "$1")
    xml_template "$2" >"$1.xml"
    ./xmlsec_nss nss "$3" "$1.xml" >"$1.signed.xml" || return 1
    signed "$1" "$before" 1 && xmlsec1 --verify --trusted-pem ca.crt "$1.signed.xml" || return 1
    sed 's/Keys stay/Keys go/' "$1.signed.xml" >changed.xml
    ! xmlsec1 --verify --trusted-pem ca.crt changed.xml 2>changed.log && grep "digest do not match" changed.log
}
if ! command -v cc >/dev/null || ! command -v xmlsec1 >/dev/null || ! pkg-config --exists xmlsec1-nss; then
    skip "libxmlsec1-nss" "it, a compiler, or xmlsec1 is not installed (apt-get install gcc libxmlsec1-dev xmlsec1)"
else
    read -ra flags <<<"$(pkg-config --cflags --libs xmlsec1-nss)"
    cc -o xmlsec_nss "$repository/tests/apps/xmlsec_nss.c" "${flags[@]}" || broken "xmlsec_nss.c doesn't compile."
    check "libxmlsec1-nss signs XML, RSA" by_nss_library rsa rsa-sha256 hsm:rsa
    check "libxmlsec1-nss signs XML, EC" by_nss_library ec ecdsa-sha256 hsm:ec
fi
# The program xmlsec1 does not load it.
no_nss() {
    local said
    said=$(xmlsec1 --sign --crypto nss --crypto-config nss message.txt 2>&1) && { echo "it was accepted"; return 1; }
    grep "only available crypto library is 'openssl'" <<<"$said"
}
# By libp11's engine it mistakes an RSA key without private numbers for a public one. By an EC key it gets a signature, and then asks the
# key for its order in a way that only a provider's key answers: no_engine KEY ALGORITHM CERTIFICATE SIGNATURES REASON
no_engine() {
    local before
    before=$(signatures "$1")
    xml_template "$2" >"$1.xml"
    with_provider xmlsec1 --sign --privkey-openssl-engine:key "pkcs11;$(token_uri "$1"),$3.crt" --output signed.xml "$1.xml" 2>xml.log &&
        { echo "it was accepted"; return 1; }
    cat xml.log
    grep -q "$5" xml.log && signed "$1" "$before" "$4" && [ ! -e signed.xml ]
}
# The same document by a software key.
software_xml() {
    openssl req -x509 -newkey rsa:2048 -noenc -keyout own.key -subj /CN=own -days 2 -out own.crt 2>/dev/null
    xml_template rsa-sha256 >own.xml
    xmlsec1 --sign --privkey-pem:key own.key,own.crt --output own.signed.xml own.xml && xmlsec1 --verify --trusted-pem own.crt own.signed.xml
}
if command -v xmlsec1 >/dev/null; then
    check "xmlsec1: impossible by NSS, the program knows OpenSSL only" no_nss
    check "xmlsec1: impossible by libp11's engine, RSA" no_engine rsa rsa-sha256 code 0 "key is not found"
    check "xmlsec1: impossible by libp11's engine, EC" no_engine ec ecdsa-sha256 mail 1 EcdsaSignatureHalfLen
    check "xmlsec1: the same with a software key" software_xml
else
    skip "xmlsec1" "it is not installed (apt-get install xmlsec1)"
fi
finish
