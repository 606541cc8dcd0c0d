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
common=("run=$run" "sockets=$sockets" "user=$user" "listen=$LISTEN" "tls_port=$TLS_PORT")
rm -f "$sockets"/client.sock
fill_in "$here/server-sidecar.conf.in" "$run/server-sidecar.conf" "${common[@]}" "server_key=$(nginx_key "$run/server.key")"
start_nginx "$run/server-sidecar.conf" "$run/server-sidecar-error.log"
fill_in "$here/client-sidecar.conf.in" "$run/client-sidecar.conf" "${common[@]}" name=client-sidecar socket=client.sock \
    "certificate=grpc_ssl_certificate $run/client.crt; grpc_ssl_certificate_key \"$(nginx_key "$run/client.key")\";"
start_nginx "$run/client-sidecar.conf" "$run/client-sidecar-error.log"
wait_until 20 test -S "$sockets/client.sock" || fail "The client's sidecar did not start: $(tail -n 3 "$run/client-sidecar-error.log")"
cat <<END
gRPC server:       $sockets/server.sock (Rust)
server's sidecar:  $LISTEN:$TLS_PORT, mutual TLS, key $SERVER_KEY in the HSM
client's sidecar:  $sockets/client.sock, key $CLIENT_KEY in the HSM
Try: ./run-client.sh
END
