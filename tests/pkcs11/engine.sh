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
    check "req -x509, s_server and curl, $key" serves "$key"
    if command -v nginx >/dev/null; then
        check "nginx, $key" by_nginx "$key"
    else
        skip "nginx, $key" "it is not installed (apt-get install nginx-light)"
    fi
done
check "dgst -sign, rsa, PSS" signs rsa -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest
finish
