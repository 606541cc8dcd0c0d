#!/usr/bin/env bash
# OpenSSL by pkcs11-provider: keys by pkcs11: URIs, and by the PEM files that hold one.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/../apps/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/../apps/tokens.sh"

modules=$(openssl version -m | sed 's/.*"\(.*\)"/\1/')
if [ ! -e "$modules/pkcs11.so" ]; then
    skip "pkcs11-provider" "it is not installed (apt-get install pkcs11-provider)"
    finish
fi
require_pkcs11_module || broken "The PKCS#11 module is needed."
start_emulated_hsm
watch_keys
openssl version
token_label=localhost
token_module=$pkcs11_module
provider_conf
uri() { token_uri "$1"; }

# What the HSM was asked since BEFORE, on how many connections: asked BEFORE
asked() {
    tail -n "+$(($1 + 1))" "$requests" | sed -n 's/.*connection=\([0-9]*\) method=\([A-Z]*\) .*/\1 \2/p' |
        awk '{ connections[$1] = 1; count++ } END { print count + 0, length(connections) }'
}

# One signature by OpenSSL, which plain OpenSSL verifies: signs KEY KEYNAME [OPTION…]
signs() {
    local key=$1 name=$2 before
    shift 2
    before=$(signatures "$name")
    with_provider openssl dgst -sha256 "$@" -sign "$key" -out "$work/signature" "$work/message.txt" || return 1
    openssl dgst -sha256 "$@" -verify "$work/$name.pub" -signature "$work/signature" "$work/message.txt" || return 1
    signed "$name" "$before" 1
}

# A cold signature takes one request for the key and one for the signature, on one connection: cold KEY
cold() {
    local before
    before=$(wc -l <"$requests")
    with_provider openssl dgst -sha256 -sign "$(uri "$1")" -out "$work/signature" "$work/message.txt" || return 1
    [ "$(asked "$before")" = "2 1" ] || { tail -n "+$((before + 1))" "$requests"; return 1; }
}

exports() {
    with_provider openssl pkey -in "$(uri "$1")" -pubout -out "$work/$1.pub" && openssl pkey -pubin -in "$work/$1.pub" -noout
}

pss=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest)
for key in rsa ec; do
    token_pem "$key"
    check "pkey -pubout, $key" exports "$key"
    check "dgst -sign by URI, $key" signs "$(uri "$key")" "$key"
    check "dgst -sign by PEM, $key" signs "$work/$key.key" "$key"
    check "a cold signature by label takes 2 requests on 1 connection, $key" cold "$key"
done
check "dgst -sign by URI, rsa, PSS" signs "$(uri rsa)" rsa "${pss[@]}"
check "dgst -sign by PEM, rsa, PSS" signs "$work/rsa.key" rsa "${pss[@]}"

# Digests that are signed as they are: signs_digest KEY KEYFILE [OPTION…]
signs_digest() {
    local key=$1 file=$2 before
    shift 2
    openssl dgst -sha256 -binary -out "$work/digest" "$work/message.txt"
    before=$(signatures "$key")
    with_provider openssl pkeyutl -sign -inkey "$file" -in "$work/digest" -out "$work/signature" -pkeyopt digest:sha256 "$@" || return 1
    openssl dgst -sha256 "${@//-pkeyopt/-sigopt}" -verify "$work/$key.pub" -signature "$work/signature" "$work/message.txt" || return 1
    signed "$key" "$before" 1
}
# What plain OpenSSL has encrypted: opens KEYFILE OPTION…
opens() {
    local file=$1 before
    shift
    before=$(operations rsa decrypt)
    openssl pkeyutl -encrypt -pubin -inkey "$work/rsa.pub" -in "$work/message.txt" -out "$work/sealed" "$@" || return 1
    with_provider openssl pkeyutl -decrypt -inkey "$file" -in "$work/sealed" -out "$work/opened" "$@" || return 1
    cmp "$work/opened" "$work/message.txt" && performed rsa decrypt "$before" 1
}
for key in rsa ec; do
    check "pkeyutl -sign by URI, $key" signs_digest "$key" "$(uri "$key")"
done
check "pkeyutl -sign by PEM, rsa, PSS" signs_digest rsa "$work/rsa.key" -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest
check "pkeyutl -decrypt by URI, PKCS#1" opens "$(uri rsa)" -pkeyopt rsa_padding_mode:pkcs1
# pkcs11-provider knows no default for the hash functions of OAEP.
oaep() { echo "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:$1 -pkeyopt rsa_mgf1_md:$1"; }
for hash in sha1 sha256; do
    read -ra options <<<"$(oaep "$hash")"
    check "pkeyutl -decrypt by PEM, OAEP with $hash" opens "$work/rsa.key" "${options[@]}"
done

makes_ca() {
    with_provider openssl req -new -x509 -key "$(uri ca)" -sha256 -days 2 -subj "/CN=Test CA" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out "$work/ca.crt" &&
        openssl verify -CAfile "$work/ca.crt" "$work/ca.crt"
}
# certifies KEY KEYFILE
certifies() {
    printf '%s\n' basicConstraints=CA:FALSE "subjectAltName=DNS:localhost,IP:127.0.0.1" >"$work/$1.ext"
    with_provider openssl req -new -key "$2" -subj /CN=localhost -out "$work/$1.csr" &&
        openssl req -in "$work/$1.csr" -verify -noout &&
        with_provider openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.crt" -CAkey "$(uri ca)" -days 1 \
            -extfile "$work/$1.ext" -out "$work/$1.crt" &&
        openssl verify -CAfile "$work/ca.crt" "$work/$1.crt"
}
check "req -x509 by URI: a CA" makes_ca
check "req and x509 by URI, rsa" certifies rsa "$(uri rsa)"
check "req and x509 by PEM, ec" certifies ec "$work/ec.key"

# A server that curl and s_client ask: serves KEY KEYFILE
serves() {
    local port
    free_port port
    launch "$work/server.log" openssl s_server -www -accept "127.0.0.1:$port" -cert "$work/$1.crt" -key "$2"
    wait_until 20 port_is_open "$port" || { cat "$work/server.log"; return 1; }
    if [ "$1" = rsa ]; then
        handshake "$port" 1.2 RSA+SHA256 rsa && handshake "$port" 1.3 RSA-PSS+SHA256 rsa || return 1
    else
        handshake "$port" 1.2 ECDSA+SHA256 ec && handshake "$port" 1.3 ECDSA+SHA256 ec || return 1
    fi
    many "https://localhost:$port/" 8
    end_process "$pid"
}
for key in rsa ec; do
    check "s_server by URI, handshakes and curl, $key" serves "$key" "$(uri "$key")"
    check "s_server by PEM, handshakes and curl, $key" serves "$key" "$work/$key.key"
done

# The calls of a program in the module's log, as crates/akv-pkcs11/tests/module/traces.rs has them, of which only single calls come in rows.
calls() {
    dpkg-query --show --showformat='${Package} ${Version}\n' pkcs11-provider
    sed -n 's/.* \(C_[A-Za-z]*\)$/\1/p; s/.* \(C_[A-Za-z]*: 0x[0-9a-f]*\)$/\1/p' "$1" | uniq --count |
        while read -r count call; do
            if [ "$count" -eq 1 ]; then
                echo "$call"
            else
                printf '%s times\n    %s\n' "$count" "$call"
            fi
        done
}
# Which calls a signature takes is what it was: traced KEY
traced() {
    local log="$work/calls-$1.log" file="crates/akv-pkcs11/tests/traces/pkcs11-provider-sign-$1"
    AKV_LOG_LEVEL=debug AKV_LOG_FILE="$log" with_provider openssl dgst -sha256 -sign "$(uri "$1")" -out "$work/signature" \
        "$work/message.txt" || return 1
    calls "$log" >"$work/calls"
    if [ -n "${AKV_RENEW_TRACES:-}" ]; then
        cp "$work/calls" "$file"
    else
        diff -u "$file" "$work/calls"
    fi
}
for key in rsa ec; do
    if [ -z "${AKV_RENEW_TRACES:-}" ] && [ "$(head -n 1 "crates/akv-pkcs11/tests/traces/pkcs11-provider-sign-$key")" != "$(calls /dev/null)" ]; then
        skip "calls, $key" "they are kept of another version than $(calls /dev/null): renew them with AKV_RENEW_TRACES=1"
    else
        check "calls, $key" traced "$key"
    fi
done

no_such_key() {
    local before
    before=$(signatures)
    ! with_provider openssl dgst -sha256 -sign "$(uri nothing)" -out "$work/signature" "$work/message.txt" && signed "" "$before" 0
}
check "a key that isn't there is an error" no_such_key

# --- ML-DSA, for a pkcs11-provider that knows it ------------------------------------------------------------------------

# signs_message KEY KEYFILE [OPTION…]: as a whole, which plain OpenSSL verifies
signs_message() {
    local key=$1 file=$2 before
    shift 2
    before=$(signatures "$key")
    with_provider openssl pkeyutl -sign -rawin -inkey "$file" -in "$work/message.txt" -out "$work/signature" "$@" || return 1
    openssl pkeyutl -verify -rawin -pubin -inkey "$work/$key.pub" -in "$work/message.txt" -sigfile "$work/signature" "$@" || return 1
    signed "$key" "$before" 1
}

# A certificate of its own, and a server with it: pq_serves KEY KEYFILE
pq_serves() {
    local port before
    with_provider openssl req -new -x509 -key "$2" -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -out "$work/$1.crt" && openssl verify -check_ss_sig -CAfile "$work/$1.crt" "$work/$1.crt" || return 1
    free_port port
    launch "$work/server.log" openssl s_server -www -accept "127.0.0.1:$port" -cert "$work/$1.crt" -key "$2"
    wait_until 20 port_is_open "$port" || { cat "$work/server.log"; return 1; }
    before=$(signatures "$1")
    openssl s_client -connect "127.0.0.1:$port" -servername localhost -CAfile "$work/$1.crt" -verify_return_error </dev/null \
        >"$work/client.out" 2>&1
    if ! grep -q "^Peer signature type: mldsa${1##*-}" "$work/client.out" || ! grep -q '^Verification: OK' "$work/client.out"; then
        cat "$work/client.out" "$work/server.log"
        return 1
    fi
    signed "$1" "$before" 1
    end_process "$pid"
}

if ! openssl list -signature-algorithms | grep -q ML-DSA; then
    skip "ML-DSA" "$(openssl version) knows none (3.5 is needed)"
elif ! grep -q ML-DSA-65 "$modules/pkcs11.so"; then
    skip "ML-DSA" "$(dpkg-query --show --showformat='pkcs11-provider ${Version}' pkcs11-provider) knows none (scripts/pkcs11.sh --suite forky)"
else
    export AKV_API_VERSION=2026-05-01-preview
    for set in 44 65 87; do
        key="ml-dsa-$set"
        create_key "$key" "{\"kty\":\"AKP-HSM\",\"alg\":\"ML-DSA-$set\"}" "$AKV_API_VERSION" || broken "No key could be made."
        token_pem "$key"
        check "pkey -pubout, $key" exports "$key"
        check "pkeyutl -sign by URI, $key" signs_message "$key" "$(uri "$key")"
        check "pkeyutl -sign by PEM with a context, $key" signs_message "$key" "$work/$key.key" -pkeyopt context-string:x
        check "req -x509 and s_server by PEM, $key" pq_serves "$key" "$work/$key.key"
    done
fi
finish
