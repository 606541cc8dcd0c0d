#!/usr/bin/env bash
# Starts nginx with the HSM's keys, in the background.
# shellcheck disable=SC2153 # hsm.sh sets the names of the keys
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=nginx-example/hsm.sh
. "$here/hsm.sh"

require_programs "$NGINX"
if [ ! -f "$run/rsa.crt" ] || [ ! -f "$run/ec.crt" ]; then
    fail "There are no certificates: run ./generate-cert.sh first."
fi
if nginx_runs "$run/nginx.pid"; then
    fail "nginx runs already: ./stop-server.sh stops it."
fi
connect_hsm

hsm_title="Azure Managed HSM"
if uses_emulator; then
    hsm_title="an emulated Azure Managed HSM"
fi
rsa_key=$(nginx_key "$run/rsa.key")
key_form="key file"
if [[ $rsa_key = store:* ]]; then
    key_form="store: URI"
fi
# As root, nginx would have its workers run as a user who can't enter this folder.
user=
if [ "$(id -u)" -eq 0 ]; then
    user="user root;"
fi
mkdir -p "$run/tmp"
fill_in "$here/locations.conf.in" "$run/locations.conf" "hsm_title=$hsm_title" "key_form=$key_form" "ca_name=$CA_KEY"
fill_in "$here/nginx.conf.in" "$run/nginx.conf" "run=$run" "user=$user" "listen=$LISTEN" \
    "rsa_name=$RSA_KEY" "ec_name=$EC_KEY" "rsa_port=$RSA_PORT" "ec_port=$EC_PORT" "both_port=$BOTH_PORT" "rsa_key=$rsa_key" "ec_key=$(nginx_key "$run/ec.key")"
start_nginx "$run/nginx.conf" "$run/nginx-error.log"

answers() { curl --silent --fail --max-time 10 --cacert "$run/ca.crt" "https://localhost:$1/health" --output /dev/null; }
for port in "$RSA_PORT" "$EC_PORT" "$BOTH_PORT"; do
    if ! wait_until 30 answers "$port"; then
        tail -n 20 "$run/nginx-error.log" >&2
        fail "nginx does not answer at port $port."
    fi
done
cat <<END
nginx $(nginx_version) runs; its keys are given by $key_form:
  https://localhost:$RSA_PORT/  RSA
  https://localhost:$EC_PORT/  EC
  https://localhost:$BOTH_PORT/  both
Try: curl --cacert $run/ca.crt https://localhost:$RSA_PORT/
END
