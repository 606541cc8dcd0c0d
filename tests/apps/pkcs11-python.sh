#!/usr/bin/env bash
# Python by python-pkcs11, and pyHanko, which signs PDF documents with it.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs_engine
needs_python python "python-pkcs11 and pyHanko"
start_token
"$python" -m pip list 2>/dev/null | grep -i '^python-pkcs11\|^pyHanko '
for key in rsa ec; do
    token_certificate "$key" "$key" /CN=Signer keyUsage=digitalSignature,nonRepudiation
done

by_python() {
    local before
    before=$(signatures "[-a-z0-9]*")
    expects_keys 3
    "$python" tests/apps/python/hsm_token.py "$token_module" || return 1
    # By OAEP and by AES-CBC.
    signed "[-a-z0-9]*" "$before" 8 && performed "[-a-z0-9]*" decrypt 0 2 && performed "[-a-z0-9]*" encrypt 0 1
}
check "python-pkcs11: find, sign, verify, decrypt, generate RSA, EC and AES keys, AES-CBC" by_python

# pyHanko with the configuration that it gets: hanko ARGUMENT…
hanko() { "$python" -m pyhanko --config "$work/pyhanko.yml" "$@"; }
cat >"$work/pyhanko.yml" <<END_OF_YAML
pkcs11-setups:
    rsa: {module-path: "$token_module", token-criteria: {label: hsm}, cert-label: rsa, prompt-pin: skip}
    ec: {module-path: "$token_module", token-criteria: {label: hsm}, cert-label: ec, prompt-pin: skip}
validation-contexts:
    ours: {trust: "$work/ca.crt", trust-replace: true}
END_OF_YAML
"$python" tests/apps/python/document.py new "$work/document.pdf"
signs_document() { # KEY
    local before document="$work/signed-$1.pdf"
    before=$(signatures "$1")
    hanko sign addsig --field Signature pkcs11 --p11-setup "$1" "$work/document.pdf" "$document" || return 1
    signed "$1" "$before" 1 || return 1
    hanko sign validate --validation-context ours --pretty-print "$document" | tee "$work/said"
    grep -q 'judged VALID' "$work/said" || return 1
    # And by OpenSSL.
    "$python" tests/apps/python/document.py parts "$document" "$work/content" "$work/content.cms" &&
        openssl cms -verify -binary -inform DER -in "$work/content.cms" -content "$work/content" -CAfile "$work/ca.crt" -purpose any \
            -out "$work/opened" 2>&1
}
check "pyHanko signs a document, rsa" signs_document rsa
check "pyHanko signs a document, ec" signs_document ec
finish
