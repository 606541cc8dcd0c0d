#!/usr/bin/env bash
# OpenVPN by its own PKCS#11 (pkcs11-helper): both ends of a tunnel, certificate and key on the token, without a network device.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"
# shellcheck source=tests/apps/tunnel.sh
. "$(dirname "$0")/tunnel.sh"

needs openvpn openvpn
needs_engine
start_token
openvpn --version | head -n 1
token_certificate server rsa "/CN=server" extendedKeyUsage=serverAuth
token_certificate client ec "/CN=client" extendedKeyUsage=clientAuth

# identity CN: how OpenVPN names a certificate of the token
identity() {
    openvpn --show-pkcs11-ids "$token_module" 2>/dev/null | grep -A 3 "DN: *CN=$1\$" | sed -n 's/.*Serialized id: *//p'
}
lists() { openvpn --show-pkcs11-ids "$token_module" && [ -n "$(identity server)" ] && [ -n "$(identity client)" ]; }
check "--show-pkcs11-ids lists both certificates" lists

# shellcheck disable=SC2317 # tunnel.sh calls it
own() { printf '%s\n' --pkcs11-providers "$token_module" --pkcs11-id "$(identity "$1")"; }
check "tunnel, TLS 1.2" tunnel 1.2
check "tunnel, TLS 1.3" tunnel 1.3
finish
