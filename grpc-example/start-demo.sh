#!/usr/bin/env bash
# Starts the gRPC server and both sidecars: client -> Unix socket -> nginx = mutual TLS = nginx -> Unix socket -> server.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=grpc-example/grpc.sh
. "$here/grpc.sh"

require_programs "$NGINX" openssl
[ -f "$run/server.crt" ] || fail "There are no certificates: run ./generate-certs.sh first."
if nginx_runs "$run/server-sidecar.pid"; then
    fail "The demo runs already: ./stop-demo.sh stops it."
fi
connect_hsm
build_programs
mkdir -p "$run/tmp"
start_server rust

# As root, nginx would have its workers run as a user who can't enter this folder.
user=
[ "$(id -u)" -ne 0 ] || user="user root;"
rm -f "$sockets"/client.sock
write_sidecars "$user" "$LISTEN"
start_nginx "$run/server-sidecar.conf" "$run/server-sidecar-error.log"
start_nginx "$run/client-sidecar.conf" "$run/client-sidecar-error.log"
wait_until 20 test -S "$sockets/client.sock" || fail "The client's sidecar did not start: $(tail -n 3 "$run/client-sidecar-error.log")"
cat <<END
gRPC server:       $sockets/server.sock (Rust)
server's sidecar:  $LISTEN:$TLS_PORT, mutual TLS, key $SERVER_KEY in the HSM
client's sidecar:  $sockets/client.sock, key $CLIENT_KEY in the HSM
Try: ./run-client.sh
END
