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

# pkcs11-provider takes the last of the versions that have the label in a file, which the certificate is not for.
starts_anew() { with_provider haproxy -c -f "$work/1-no.cfg"; }
by_label_refused() { ! starts_anew 2>"$work/label.log" && grep "inconsistencies between private key and certificate" "$work/label.log"; }
for key in rsa ec; do
    rotate "$key"
done
check "with the certificates from before, files that hold labels are refused" by_label_refused
for key in rsa ec; do
    { cat "$work/$key.crt" && uri_pem "$(token_uri_by_id "$key")" "$work/$key"; } >"$work/$key.pem"
done
check "with the certificates from before, files that hold ids are taken" starts_anew
finish
