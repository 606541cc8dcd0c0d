#!/usr/bin/env bash
# Runs in a container of compose.yaml: makes keys, certificates and nginx's configuration in the volume `run`, and gives that to
# nginx's user.
set -euo pipefail
here=/examples/nginx-example
export RUN_DIR=/run/example AKV_INSTALLED=1 LISTEN=0.0.0.0 RSA_KEY=nginx-rsa EC_KEY=nginx-ec CA_KEY=nginx-ca \
    RSA_PORT=8443 EC_PORT=8444 BOTH_PORT=8445
# A .env of yours is for the scripts outside of containers.
export NO_ENV_FILE=1
# shellcheck source=nginx-example/hsm.sh
. "$here/hsm.sh"

if [ -f "$run/complete" ]; then
    echo "The keys, certificates and configurations are there: 'docker compose down --volumes' removes them."
    exit
fi
copy_ca() { install -m 644 /hsm/ca.pem "$run/hsm-ca.pem" 2>"$run/error"; }
make_key() { "$akv" keys create "managedhsm:$hsm:$1" "${@:2}" --if-absent >/dev/null 2>"$run/error"; }
wait_until 60 copy_ca || fail "The emulator has made no CA: $(<"$run/error")"
find_programs
wait_until 60 make_key "$RSA_KEY" --type rsa --size 3072 || fail "The HSM made no key: $(<"$run/error")"
make_key "$EC_KEY" --type ec --curve P-256 || fail "$(<"$run/error")"
make_key "$CA_KEY" --type ec --curve P-256 || fail "$(<"$run/error")"
"$here/generate-cert.sh"
# The containers start as nginx's user.
write_nginx_configuration ""
chown -R 65532:65532 "$run"
# Others wait for this.
touch "$run/complete"
