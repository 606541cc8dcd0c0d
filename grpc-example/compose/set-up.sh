#!/usr/bin/env bash
# Runs in a container of compose.yaml: makes keys, certificates and the sidecars' configurations in the volume `run`, and gives the
# volumes to the user of the other containers.
set -euo pipefail
here=/examples/grpc-example
export RUN_DIR=/run/example SOCKET_DIR=/sockets AKV_INSTALLED=1 LISTEN=0.0.0.0 TLS_PORT=9443 \
    CA_KEY=grpc-ca SERVER_KEY=grpc-server CLIENT_KEY=grpc-client
# A .env of yours is for the scripts outside of containers.
export NO_ENV_FILE=1
# shellcheck source=grpc-example/grpc.sh
. "$here/grpc.sh"

if [ -f "$run/complete" ]; then
    echo "The keys, certificates and configurations are there: 'docker compose down --volumes' removes them."
    exit
fi
copy_ca() { install -m 644 /hsm/ca.pem "$run/hsm-ca.pem" 2>"$run/error"; }
make_keys() {
    local key
    for key in "$CA_KEY" "$SERVER_KEY" "$CLIENT_KEY"; do
        "$akv" keys create "managedhsm:$hsm:$key" --type ec --curve P-256 --if-absent >/dev/null 2>"$run/error" || return
    done
}
wait_until 60 copy_ca || fail "The emulator has made no CA: $(<"$run/error")"
find_programs
wait_until 60 make_keys || fail "The HSM made no keys: $(<"$run/error")"
"$here/generate-certs.sh"
# The containers start as the sidecars' user, and find each other by their names.
write_sidecars "" server-sidecar
chown -R 65532:65532 "$run" /server-socket /client-socket
# Others wait for this.
touch "$run/complete"
