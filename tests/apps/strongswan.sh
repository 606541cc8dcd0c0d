#!/usr/bin/env bash
# strongSwan: IKEv2 between two charons, each with a key file.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/charon.sh
. "$(dirname "$0")/charon.sh"

needs_charons
if [ ! -f /usr/lib/ipsec/plugins/libstrongswan-openssl.so ]; then
    skip strongSwan "its plugin openssl is not installed (apt-get install libstrongswan-standard-plugins)"
    finish
fi
start_hsm
swanctl --version 2>/dev/null | head -n 1
certificate server rsa "/CN=server" subjectAltName=DNS:pkcs1,DNS:pss
certificate visitor ec "/CN=visitor" subjectAltName=DNS:visitor

# shellcheck disable=SC2317 # charon.sh calls these
credentials() {
    mkdir -p "$work/$1"/{x509,private}
    cp "$work/$1.crt" "$work/$1/x509/"
    cp "$work/$1.key" "$work/$1/private/"
}
# shellcheck disable=SC2317
own() { echo "certs = $1.crt"; }
starts_both "its key file"
check "IKEv2: RSA, PKCS#1, and EC" authenticated pkcs1 RSA_EMSA_PKCS1_SHA2_256
check "IKEv2: RSA, PSS, and EC" authenticated pss RSA_EMSA_PSS_SHA2_384
# A connection begins just before the HSM ends, five times.
reconnects() {
    local i visitor lost=0
    for i in 1 2 3 4 5; do
        control visitor --terminate --ike pkcs1 || return 1
        connects pkcs1 >"$work/connects.log" 2>&1 &
        visitor=$!
        restart_hsm || return 1
        wait "$visitor" || { tail -n 3 "$work/connects.log"; lost=$((lost + 1)); }
    done
    echo "figures: 5 connections, $lost lost"
    [ "$lost" -eq 0 ]
}
check "the HSM restarts while they connect" reconnects
stops() { end_process "$client" && end_process "$server"; }
check "stops" stops
finish
