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

# As root, nginx would have its workers run as a user who can't enter this folder.
user=
if [ "$(id -u)" -eq 0 ]; then
    user="user root;"
fi
write_nginx_configuration "$user"
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
