#!/usr/bin/env bash
# Stops the sidecars, the gRPC server and the emulator. Certificates and logs stay in run/; ./cleanup.sh removes them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=grpc-example/grpc.sh
. "$here/grpc.sh"

for name in client-sidecar server-sidecar; do
    stop_nginx "$run/$name.pid"
done
for name in greeter direct; do
    stop "$name"
done
echo "The sidecars and the gRPC server are stopped."
stop_emulator
rm -f "$sockets/client.sock" "$sockets/server.sock"
