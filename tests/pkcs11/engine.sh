#!/usr/bin/env bash
# OpenSSL 3.5 by the engine of libp11 0.4.13, as users of the TLS Offload Library have it by 0.4.12; and OpenSSL 1.1.1. nginx with it.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/../apps/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/../apps/tokens.sh"
# shellcheck source=tests/apps/engine_nginx.sh
. "$(dirname "$0")/../apps/engine_nginx.sh"

needs_engine
require_pkcs11_module || broken "The PKCS#11 module is needed."
start_emulated_hsm
watch_keys
openssl version
installed_as openssl-engine.cnf "$pkcs11_module" >"$work/openssl.cnf"
token_label=localhost

exports() {
    with_provider openssl pkey -engine pkcs11 -inform engine -in "$(token_uri "$1")" -pubout -out "$work/$1.pub" &&
        openssl pkey -pubin -in "$work/$1.pub" -noout
}
# signs KEY [OPTION…]
signs() {
    local key=$1 before
    shift
    before=$(signatures "$key")
    with_provider openssl dgst "${engine_args[@]}" -sha256 "$@" -sign "$(token_uri "$key")" -out "$work/signature" "$work/message.txt" || return 1
    openssl dgst -sha256 "$@" -verify "$work/$key.pub" -signature "$work/signature" "$work/message.txt" || return 1
    signed "$key" "$before" 1
}
# Digests that are signed as they are: signs_digest KEY [OPTION…]
signs_digest() {
    local key=$1 before
    shift
    openssl dgst -sha256 -binary -out "$work/digest" "$work/message.txt"
    before=$(signatures "$key")
    with_provider openssl pkeyutl -sign -engine pkcs11 -keyform engine -inkey "$(token_uri "$key")" -in "$work/digest" \
        -out "$work/signature" -pkeyopt digest:sha256 "$@" || return 1
    openssl dgst -sha256 "${@//-pkeyopt/-sigopt}" -verify "$work/$key.pub" -signature "$work/signature" "$work/message.txt" || return 1
    signed "$key" "$before" 1
}
# opens OPTION…: what plain OpenSSL has encrypted
opens() {
    local before
    before=$(operations rsa decrypt)
    openssl pkeyutl -encrypt -pubin -inkey "$work/rsa.pub" -in "$work/message.txt" -out "$work/sealed" "$@" || return 1
    with_provider openssl pkeyutl -decrypt -engine pkcs11 -keyform engine -inkey "$(token_uri rsa)" -in "$work/sealed" \
        -out "$work/opened" "$@" || return 1
    cmp "$work/opened" "$work/message.txt" && performed rsa decrypt "$before" 1
}
# serves KEY
serves() {
    local port
    with_provider openssl req -new -x509 "${engine_args[@]}" -key "$(token_uri "$1")" -subj /CN=localhost -days 2 \
        -addext "subjectAltName=DNS:localhost" -out "$work/ca.crt" || return 1
    free_port port
    launch "$work/server.log" openssl s_server -www -accept "127.0.0.1:$port" -cert "$work/ca.crt" "${engine_args[@]}" -key "$(token_uri "$1")"
    wait_until 20 port_is_open "$port" || { cat "$work/server.log"; return 1; }
    many "https://localhost:$port/" 4 || return 1
    end_process "$pid"
}
# by_nginx KEY: a signature for each of four connections, before and after a reload
by_nginx() {
    local before
    with_provider openssl req -new -x509 "${engine_args[@]}" -key "$(token_uri "$1")" -subj /CN=localhost -days 2 \
        -addext "subjectAltName=DNS:localhost" -out "$work/nginx.crt" || return 1
    before=$(signatures "$1")
    nginx_serves "$work/nginx.crt" "$(token_uri "$1")" with_provider || return 1
    signed "$1" "$before" 4
}
for key in rsa ec; do
    check "pkey -pubout, $key" exports "$key"
    check "dgst -sign, $key" signs "$key"
    check "pkeyutl -sign, $key" signs_digest "$key"
    check "req -x509, s_server and curl, $key" serves "$key"
    if command -v nginx >/dev/null; then
        check "nginx, $key" by_nginx "$key"
    else
        skip "nginx, $key" "it is not installed (apt-get install nginx-light)"
    fi
done
check "dgst -sign, rsa, PSS" signs rsa -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest
check "pkeyutl -sign, rsa, PSS" signs_digest rsa -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest
check "pkeyutl -decrypt, PKCS#1" opens -pkeyopt rsa_padding_mode:pkcs1
check "pkeyutl -decrypt, OAEP" opens -pkeyopt rsa_padding_mode:oaep
finish
