#!/usr/bin/env bash
# Makes the CA's certificate, and the servers' that it signs. The HSM signs all of them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=nginx-example/hsm.sh
. "$here/hsm.sh"

connect_hsm
# shellcheck disable=SC2153 # set by .env or .env.example
write_key_file "$CA_KEY" "$run/ca.key"
make_ca "$run/ca.key" "Azure HSM Demo CA" "$run/ca.crt"
for name in rsa ec; do
    key=$RSA_KEY
    [ "$name" = rsa ] || key=$EC_KEY
    write_key_file "$key" "$run/$name.key"
    make_certificate "$run/$name.key" "/C=US/ST=Washington/L=Redmond/O=Azure HSM Demo/CN=localhost" \
        "$(printf '%s\n' extendedKeyUsage=serverAuth "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1")" \
        "$run/ca.key" "$run/ca.crt" "$run/$name.crt"
    # Plain OpenSSL, without the provider, is the judge.
    openssl verify -CAfile "$run/ca.crt" -verify_hostname localhost "$run/$name.crt"
done
echo "The HSM signed the CA's certificate, and one for each server, with $CA_KEY; the requests with $RSA_KEY and $EC_KEY."
