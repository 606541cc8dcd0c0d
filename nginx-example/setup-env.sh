#!/usr/bin/env bash
# Makes .env, checks what is needed, and makes an HSM ready: the one that .env names, or a local emulator with keys in it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ ! -f "$here/.env" ]; then
    (umask 077 && cp "$here/.env.example" "$here/.env")
    echo "Made .env: name your HSM and its keys in it, or leave it to use the emulator."
fi
# shellcheck source=nginx-example/hsm.sh
. "$here/hsm.sh"

require_programs "$NGINX" openssl curl
connect_hsm
ensure_key "$RSA_KEY" rsa
ensure_key "$EC_KEY" ec
# shellcheck disable=SC2153 # set by .env or .env.example
ensure_key "$CA_KEY" ec

echo "nginx:    $(nginx_version)"
echo "OpenSSL:  $(openssl version | cut -d' ' -f2)"
echo "provider: $module"
if uses_emulator; then
    echo "HSM:      an emulator, not an HSM, at $AZURE_MANAGEDHSM_URL"
else
    echo "HSM:      $hsm"
fi
echo "keys:     $RSA_KEY, $EC_KEY, $CA_KEY"
