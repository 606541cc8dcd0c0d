#!/usr/bin/env bash
# Another judge than OpenSSL of the certificates, and of the lists of revoked ones, that akv makes: pkilint, from PyPI, by the rules of
# RFC 5280. One of each profile of `akv cert sign`, and what `akv cert self-signed` and `akv cert crl` make. Run after
# `cargo build --workspace`. Skipped, with the reason, where pkilint can't be had. Ends with "N passed, N failed, N skipped".
# shellcheck disable=SC2317 # the trap and check call functions
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/emulator.sh
. scripts/built.sh
. scripts/checks.sh
. scripts/pypi.sh

place="$target_dir/pkilint"
folder=$(mktemp -d)

clean_up() {
    stop_emulator
    rm -rf "$folder"
}
trap clean_up EXIT

# The rules' remarks below a notice are descriptions, not faults.
certificate() { "$place/bin/lint_pkix_cert" lint --severity NOTICE "$folder/$1"; }
revoked() { "$place/bin/lint_crl" lint --severity NOTICE --profile PKIX --type CRL "$folder/$1"; }
chain() { "$place/bin/lint_pkix_signer_signee_cert_chain" lint --severity NOTICE "$folder/$1" "$folder/$2"; }

akv() { "$profile_dir/akv" "$@" --output none; }

# A request, and the certificate for it: sign PROFILE KEY OPTION…
sign() {
    local profile=$1 key=$2
    shift 2
    akv cert csr "managedhsm:MyHSM:$key" --subject "CN=$profile.example,O=Example" "$@" --out "$folder/$profile.csr" &&
        akv cert sign managedhsm:MyHSM:ca "$folder/$profile.csr" --ca "$folder/ca.pem" --profile "$profile" --days 90 \
            --crl http://ca.example/ca.crl --out "$folder/$profile.pem"
}

if ! install_from_pypi pkilint 0.13.3 "$place" >"$folder/install.log" 2>&1; then
    tail -n 5 "$folder/install.log"
    echo "SKIPPED: pkilint can't be installed here (python3 -m venv; pip install pkilint)"
    exit 77
fi
require_programs akv managed-hsm-emulator && start_emulator "$profile_dir/managed-hsm-emulator" "$folder" || exit
create_key ca '{"kty":"EC-HSM","crv":"P-384"}' && create_key ec '{"kty":"EC-HSM","crv":"P-256"}' &&
    create_key rsa '{"kty":"RSA-HSM","key_size":3072}' || exit

# That it judges at all: a CA's basic constraints have to be critical.
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$folder/bad.key" -subj /CN=bad -addext basicConstraints=CA:TRUE \
    -out "$folder/bad.pem" 2>/dev/null
if certificate bad.pem >"$folder/bad.log"; then
    echo "FAILED  pkilint finds nothing in a certificate that is wrong" >&2
    exit 1
fi

akv cert self-signed managedhsm:MyHSM:ca --subject CN=Example-CA,O=Example --ca --days 3650 --out "$folder/ca.pem" || exit
check "a CA's own certificate" certificate ca.pem
for key in ec rsa; do
    akv cert self-signed "managedhsm:MyHSM:$key" --subject CN=www.example.com --san DNS:www.example.com --out "$folder/own-$key.pem"
    check "a self-signed certificate, $key" certificate "own-$key.pem"
done
for profile in server client peer code-signing; do
    sign "$profile" rsa --san "DNS:$profile.example" --san IP:192.0.2.1
    check "profile $profile" certificate "$profile.pem"
    check "profile $profile, and who has signed it" chain ca.pem "$profile.pem"
done
sign email ec --san email:a@example.com
check "profile email" certificate email.pem
akv cert csr managedhsm:MyHSM:ec --subject CN=Below,O=Example --out "$folder/below.csr"
akv cert sign managedhsm:MyHSM:ca "$folder/below.csr" --ca "$folder/ca.pem" --profile ca --path-length 0 --days 365 \
    --crl http://ca.example/ca.crl --out "$folder/below.pem"
check "profile ca" certificate below.pem
check "profile ca, and who has signed it" chain ca.pem below.pem
akv cert crl managedhsm:MyHSM:ca --ca "$folder/ca.pem" --days 7 --out "$folder/empty.crl"
check "a list of none" revoked empty.crl
akv cert crl managedhsm:MyHSM:ca --ca "$folder/ca.pem" --revoked 5A01:keyCompromise:2026-11-01 --revoked 5A02 --days 7 --out "$folder/some.crl"
check "a list of two" revoked some.crl
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
