#!/usr/bin/env bash
# Makes rsa.txt: signatures by openssl with keys that are thrown away. Each line is a name and bytes in
# hexadecimal; what is signed is the message "abc", unless the name says something else.
set -euo pipefail

cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

hex() {
    printf '%s %s\n' "$1" "$(od -An -v -tx1 | tr -d ' \n')"
}
# sign NAME KEY ARGUMENTS…: a signature over the message
sign() {
    openssl dgst -sign "$work/$2" "${@:3}" "$work/message" | hex "$1"
}
pss() {
    sign "$1" "$2" "-$3" -sigopt rsa_padding_mode:pss -sigopt "rsa_pss_saltlen:$4" "${@:5}"
}

printf abc >"$work/message"
{
    for key in 2048:65537 2048:3 2050:65537; do
        bits=${key%:*} e=${key#*:}
        openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:$bits" \
            -pkeyopt "rsa_keygen_pubexp:$e" -out "$work/$bits-$e"
        printf 'modulus-%s-%s %s\n' "$bits" "$e" \
            "$(openssl rsa -in "$work/$bits-$e" -noout -modulus | sed 's/Modulus=//' | tr A-F a-f |
                sed 's/^\(\(..\)*.\)$/0\1/')"
        sign "pkcs1-sha256-$bits-$e" "$bits-$e" -sha256
        pss "pss-sha256-digest-$bits-$e" "$bits-$e" sha256 digest
        pss "pss-sha256-max-$bits-$e" "$bits-$e" sha256 max
    done
    for digest in sha1 sha512 sha512-256; do
        sign "pkcs1-$digest" 2048-65537 "-$digest"
    done
    pss pss-sha256-0 2048-65537 sha256 0
    pss pss-sha512-64 2048-65537 sha512 64
    pss pss-sha256-mgf1-sha1-20 2048-65537 sha256 20 -sigopt rsa_mgf1_md:sha1
    printf hello >"$work/hello"
    openssl pkeyutl -sign -inkey "$work/2048-65537" -in "$work/hello" | hex pkcs1-hello
    { printf '\0'; head -c 255 /dev/zero | tr '\0' 'Z'; } >"$work/block"
    openssl rsautl -sign -raw -inkey "$work/2048-65537" \
        -in "$work/block" 2>/dev/null | hex bare-block
} >rsa.txt
