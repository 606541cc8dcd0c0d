#!/bin/sh
# Renews a certificate for a key in the HSM by ACME, and has its server reload: renew.sh CERTIFICATE REQUEST [OPTION OF certbot]…
#
#   renew.sh /etc/akv/web.crt /etc/akv/web.csr --webroot --webroot-path /var/www/html
#
# The request is what 'akv cert csr' wrote. It is signed with the key already, so certbot needs no access to the HSM, and the same one
# does for every renewal. 'certbot renew' passes over certificates of this kind; this script does it when the certificate is missing or ends within DAYS
# days (30 by default). The new one takes the old one's place in one step, then RELOAD runs ('systemctl reload nginx' by default).
set -eu
[ "$#" -ge 2 ] || { echo "usage: $0 CERTIFICATE REQUEST [OPTION OF certbot]..." >&2; exit 2; }
certificate=$1 request=$2
shift 2
if openssl x509 -in "$certificate" -noout -checkend "$((${DAYS:-30} * 86400))" >/dev/null 2>&1; then
    exit 0
fi
# Beside the certificate, so that it can be moved in one step; certbot overwrites nothing.
new=$(mktemp -d "$certificate.XXXXXX")
trap 'rm -rf "$new"' EXIT
certbot certonly --csr "$request" --non-interactive --agree-tos \
    --cert-path "$new/certificate" --chain-path "$new/chain" --fullchain-path "$new/fullchain" "$@"
# A certificate for another key would stop the server at its next start.
if [ "$(openssl x509 -in "$new/fullchain" -noout -pubkey)" != "$(openssl req -in "$request" -noout -pubkey)" ]; then
    echo "The certificate that came is not for the key of $request." >&2
    exit 1
fi
chmod 644 "$new/fullchain"
mv "$new/fullchain" "$certificate"
${RELOAD:-systemctl reload nginx}
