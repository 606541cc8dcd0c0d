#!/usr/bin/env bash
# OpenVPN: both ends of a tunnel, without a network device.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tunnel.sh
. "$(dirname "$0")/tunnel.sh"

needs openvpn openvpn
start_hsm
openvpn --version | head -n 1
certificate server rsa "/CN=server" extendedKeyUsage=serverAuth

# shellcheck disable=SC2317 # tunnel.sh calls it
own() { printf '%s\n' --cert "$work/$1.crt" --key "$work/$1.key"; }
check "tunnel, TLS 1.2" tunnel 1.2
check "tunnel, TLS 1.3" tunnel 1.3
# By OpenVPN's own option, and no openssl.cnf.
check "tunnel, --providers" tunnel 1.3 env --unset=OPENSSL_CONF OPENSSL_MODULES="$work/modules" openvpn --providers default akv_provider
finish
