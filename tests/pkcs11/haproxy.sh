#!/usr/bin/env bash
# HAProxy by pkcs11-provider: files with a certificate and a key file that holds a URI; it has jemalloc.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/../apps/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/../apps/tokens.sh"

needs haproxy haproxy
needs_engine
start_token
haproxy -v | head -n 1
for key in rsa ec; do
    token_certificate "$key" "$key"
    token_pem "$key"
    cat "$work/$key.crt" "$work/$key.key" >"$work/$key.pem"
done
token_certificate client ec /CN=client extendedKeyUsage=clientAuth
cat "$work/client.crt" "$work/ec.key" >"$work/client.pem"
chmod 644 "$MHSM_PKCS11_CONF"
provider_conf
# shellcheck source=tests/apps/haproxies.sh
. "$(dirname "$0")/../apps/haproxies.sh"
for mode in "1 no" "4 no" "1 yes" "4 yes"; do
    read -r threads async <<<"$mode"
    serves "$threads" "$async"
done
proxies "$work/client.pem"
finish
