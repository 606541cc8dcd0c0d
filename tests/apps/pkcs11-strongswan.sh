#!/usr/bin/env bash
# strongSwan by its plugin pkcs11: IKEv2 between two charons, certificates and keys on the token.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"
# shellcheck source=tests/apps/charon.sh
. "$(dirname "$0")/charon.sh"

needs_charons
needs_engine
if [ ! -f /usr/lib/ipsec/plugins/libstrongswan-pkcs11.so ]; then
    skip strongSwan "its plugin pkcs11 is not installed (apt-get install libstrongswan-extra-plugins)"
    finish
fi
start_token
"$charon" --version
token_certificate server rsa "/CN=server" subjectAltName=DNS:pkcs1,DNS:pss
token_certificate visitor ec "/CN=visitor" subjectAltName=DNS:visitor

# How strongSwan names an object of the token: by its CKA_ID
handle() { openssl x509 -in "$work/$1.crt" -noout -ext subjectKeyIdentifier | tail -n 1 | tr -d ' :\n' | tr 'A-F' 'a-f'; }
further_plugin=pkcs11 plugin_settings="pkcs11 {
            modules {
                akv {
                    path = $token_module
                }
            }
        }"
# shellcheck disable=SC2317 # charon.sh calls these
credentials() { echo "secrets { token { handle = $(handle "$1"); slot = 0; module = akv; pin = x } }" | tr ';' '\n'; }
# shellcheck disable=SC2317
own() { printf '%s\n' "cert {" "handle = $(handle "$1")" "slot = 0" "module = akv" "}"; }
starts_both "certificate and key of the token"
check "IKEv2: RSA, PKCS#1, and EC" authenticated pkcs1 RSA_EMSA_PKCS1_SHA2_256
# What the plugin can't, it says before it asks the token.
refused() {
    local before
    before=$(signatures rsa)
    ! control visitor --initiate --ike pss --timeout 30 &&
        grep "signature scheme RSA_EMSA_PSS not supported" "$work/server/charon.log" && signed rsa "$before" 0
}
case $("$charon" --version) in
    *" 5."*) check "IKEv2: RSA, PSS: impossible, the plugin does not know it" refused ;;
    *) check "IKEv2: RSA, PSS, and EC" authenticated pss RSA_EMSA_PSS_SHA2_384 ;;
esac
check "client: stops" end_process "$client"
check "server: stops" end_process "$server"
finish
