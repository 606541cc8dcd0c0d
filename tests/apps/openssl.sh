#!/usr/bin/env bash
# The commands of openssl with the key's URI: ca and crl, cms, smime, ts, ocsp, dgst, pkeyutl, s_server.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

start_hsm
openssl version
cd "$work" || exit
rsa=managedhsm:MyHSM:rsa ec=managedhsm:MyHSM:ec ca=managedhsm:MyHSM:ca

# Runs a command, which has to take so many signatures with a key: signs KEY NUMBER COMMAND…
signs() {
    local key=$1 number=$2 before
    shift 2
    before=$(signatures "$key")
    with_provider "$@" || return 1
    signed "$key" "$before" "$number"
}
decryptions() { grep -c "method=POST path=/keys/$1/[0-9a-f]*/\(decrypt\|unwrapkey\) status=200" "$requests"; }
decrypts() {
    local key=$1 before
    shift
    before=$(decryptions "$key")
    with_provider "$@" || return 1
    wait_until 5 eval "[ \"\$(decryptions $key)\" -eq $((before + 1)) ]" || { echo "no decryption by the HSM"; return 1; }
}

# --- ca, crl, verify, ocsp

mkdir ca
: >ca/index
echo 01 >ca/serial
echo 01 >ca/crlnumber
cat >ca.cnf <<END
$(cat openssl.cnf)
[ca]
default_ca = test
[test]
database = ca/index
new_certs_dir = ca
serial = ca/serial
crlnumber = ca/crlnumber
certificate = ca.crt
default_md = sha256
default_days = 1
default_crl_days = 1
policy = any
unique_subject = no
[any]
commonName = supplied
[end]
basicConstraints = CA:FALSE
[ocsp]
extendedKeyUsage = OCSPSigning
[tsa]
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[mail]
keyUsage = digitalSignature,keyEncipherment
[tsa_config]
serial = ca/tsa-serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256,sha512
certs = ca.crt
END
# issue NAME KEY_URI EXTENSIONS: a request and a certificate by openssl ca
issue() {
    signs "${2##*:}" 1 openssl req -new -key "$2" -subj "/CN=$1" -out "$1.csr" &&
        signs ca 1 openssl ca -config ca.cnf -batch -notext -keyfile "$ca" -in "$1.csr" -extensions "$3" -out "$1.crt" &&
        openssl verify -CAfile ca.crt "$1.crt"
}
check "req and ca: RSA" issue signer "$rsa" mail
check "req and ca: EC" issue signer-ec "$ec" end
check "req and ca: responder" issue responder "$rsa" ocsp
check "req and ca: time stamping" issue tsa "$ec" tsa
check "req and ca: to be revoked" issue revoked "$ec" end
revoke() {
    with_provider openssl ca -config ca.cnf -keyfile "$ca" -revoke revoked.crt &&
        signs ca 1 openssl ca -config ca.cnf -keyfile "$ca" -gencrl -out test.crl &&
        openssl crl -in test.crl -CAfile ca.crt -noout -text | grep -A 1 'Revoked Certificates' &&
        ! openssl verify -crl_check -CAfile ca.crt -CRLfile test.crl revoked.crt && openssl verify -crl_check -CAfile ca.crt -CRLfile test.crl signer.crt
}
check "ca -gencrl, crl and verify" revoke
ocsp() {
    openssl ocsp -issuer ca.crt -cert signer.crt -cert revoked.crt -no_nonce -reqout ocsp.req &&
        signs rsa 1 openssl ocsp -index ca/index -CA ca.crt -rsigner responder.crt -rkey responder.key -reqin ocsp.req -respout ocsp.resp &&
        openssl ocsp -issuer ca.crt -cert signer.crt -cert revoked.crt -no_nonce -respin ocsp.resp -CAfile ca.crt >ocsp.txt 2>&1
    cat ocsp.txt
    grep -q "Response verify OK" ocsp.txt && grep -q "signer.crt: good" ocsp.txt && grep -q "revoked.crt: revoked" ocsp.txt
}
cp rsa.key responder.key
check "ocsp: a response" ocsp

# --- messages

cms_sign() {
    signs "$1" 1 openssl cms -sign -nodetach -binary -in message.txt -signer "$2" -inkey "managedhsm:MyHSM:$1" "${@:3}" -outform DER -out signed.der &&
        openssl cms -verify -binary -inform DER -in signed.der -CAfile ca.crt -purpose any -out verified.txt && cmp message.txt verified.txt
}
check "cms: signed, RSA" cms_sign rsa signer.crt
check "cms: signed, RSA-PSS" cms_sign rsa signer.crt -keyopt rsa_padding_mode:pss
check "cms: signed, EC" cms_sign ec signer-ec.crt
cms_decrypt() {
    openssl cms -encrypt -binary -aes256 -in message.txt -outform DER -out encrypted.der -recip signer.crt "$@" &&
        decrypts rsa openssl cms -decrypt -inform DER -in encrypted.der -recip signer.crt -inkey "$rsa" -out decrypted.txt && cmp message.txt decrypted.txt
}
check "cms: decrypted, PKCS#1" cms_decrypt
check "cms: decrypted, OAEP" cms_decrypt -keyopt rsa_padding_mode:oaep
smime() {
    signs rsa 1 openssl smime -sign -in message.txt -text -signer signer.crt -inkey "$rsa" -out mail.txt &&
        openssl smime -verify -in mail.txt -CAfile ca.crt -purpose any -text | grep "Keys stay" &&
        openssl smime -encrypt -aes256 -in message.txt -out mail.enc signer.crt &&
        decrypts rsa openssl smime -decrypt -in mail.enc -recip signer.crt -inkey "$rsa" | grep "Keys stay"
}
check "smime: signed and decrypted" smime
ts() {
    echo 01 >ca/tsa-serial
    openssl ts -query -data message.txt -sha256 -cert -out ts.req &&
        signs ec 1 openssl ts -reply -config ca.cnf -section tsa_config -queryfile ts.req -signer tsa.crt -inkey "$1" -out ts.resp &&
        openssl ts -verify -queryfile ts.req -in ts.resp -CAfile ca.crt
}
check "ts: a reply, by key file" ts ec.key
check "ts: by URI impossible, it opens files only" eval "ts $ec 2>&1 | grep 'fopen($ec'"
openssl x509 -in signer.crt -noout -pubkey >rsa.pub
openssl x509 -in signer-ec.crt -noout -pubkey >ec.pub
dgst() {
    signs "$1" 1 openssl dgst -sha384 -sign "managedhsm:MyHSM:$1" -out signature message.txt &&
        openssl dgst -sha384 -verify "$1.pub" -signature signature message.txt
}
check "dgst: RSA" dgst rsa
check "dgst: EC" dgst ec
pkeyutl() {
    openssl pkeyutl -encrypt -pubin -inkey rsa.pub -in message.txt -out encrypted -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 &&
        decrypts rsa openssl pkeyutl -decrypt -inkey "$rsa" -in encrypted -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 |
        cmp message.txt
}
check "pkeyutl: decrypted, OAEP" pkeyutl

# --- TLS

for mode in sync async; do
    free_port port
    options=()
    [ "$mode" = sync ] || options=(-async)
    launch s_server.log openssl s_server -accept "127.0.0.1:$port" -cert rsa.crt -key "$rsa" -dcert ec.crt -dkey "$ec" -www "${options[@]}"
    check "s_server, $mode: answers" ready "https://localhost:$port/" s_server.log
    handshakes "s_server, $mode" "$port" rsa ec
done

# Raw public keys (RFC 7250): no certificate at either end; the client knows the server's key by its digest.
raw_public_keys() {
    local key=$1 digest before status=0
    digest=$(openssl pkey -pubin -in "$key.pub" -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1)
    free_port port
    launch s_server.log openssl s_server -accept "127.0.0.1:$port" -cert "$key.crt" -key "managedhsm:MyHSM:$key" \
        -enable_server_rpk -enable_client_rpk -Verify 1 -www
    wait_until 10 port_is_open "$port" || { cat s_server.log; return 1; }
    raw_client() {
        with_provider timeout 60 openssl s_client -connect "127.0.0.1:$port" -enable_server_rpk -enable_client_rpk -cert client.crt -key "$ec" \
            -dane_tlsa_domain localhost -dane_tlsa_rrdata "3 1 1 $1" -verify_return_error </dev/null 2>&1
    }
    before=$(signatures)
    raw_client "$digest" >raw.txt || status=1
    grep -q "^Server-to-client raw public key negotiated" raw.txt && grep -q "^Client-to-server raw public key negotiated" raw.txt &&
        grep -q "matched the peer raw public key" raw.txt && grep -q "^Verification: OK" raw.txt && signed "" "$before" 2 || status=1
    ! raw_client "${digest//[0-7]/8}" >forged.txt && grep -q "no matching DANE TLSA records" forged.txt || status=1
    end_process "$pid"
    [ "$status" -eq 0 ] || cat raw.txt
    return "$status"
}
if openssl s_server -help 2>&1 | grep -q enable_server_rpk; then
    check "raw public keys: RSA, and the client's EC" raw_public_keys rsa
    check "raw public keys: EC, and the client's" raw_public_keys ec
else
    skip "raw public keys" "OpenSSL has them from 3.2 on"
fi

# --- beside OpenSSL's own modules

# legacy [OPTION…]: one command that needs the module legacy and ours, by the environment that it finds
legacy() {
    local before
    before=$(signatures ec)
    openssl dgst "$@" -sha256 -sign "$ec" -out signature message.txt && signed ec "$before" 1 &&
        openssl dgst -sha256 -verify ec.pub -signature signature message.txt && openssl dgst "$@" -md4 message.txt
}
three=(-provider legacy -provider akv_provider -provider default)
modules=$(openssl version -m | sed 's/^MODULESDIR: "\(.*\)"$/\1/')
hidden() { ! legacy "${three[@]}" >hidden.txt 2>&1 && grep "unable to load provider legacy" hidden.txt; }
if [ -e "$modules/legacy.so" ]; then
    check "OPENSSL_MODULES with our module alone hides legacy.so" eval "OPENSSL_MODULES='$work/modules' hidden"
    check "module = in openssl.cnf doesn't" with_provider legacy "${three[@]}"
    check "-provider-path behind -provider legacy doesn't" \
        legacy -provider legacy -provider-path "$work/modules" -provider akv_provider -provider default
    mkdir linked
    ln -s "$modules/legacy.so" "$work/modules/akv_provider.so" linked
    check "OPENSSL_MODULES with a link to legacy.so doesn't" eval "OPENSSL_MODULES='$work/linked' legacy \"\${three[@]}\""
else
    skip "OPENSSL_MODULES and legacy.so" "there is no $modules/legacy.so (apt-get install openssl-provider-legacy)"
fi
finish
