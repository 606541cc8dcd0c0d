#!/usr/bin/env bash
# Stops what runs and removes all that the scripts made, the emulator's keys too. Your .env and your HSM stay.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/stop-demo.sh"
# shellcheck source=grpc-example/grpc.sh
. "$here/grpc.sh"

rm -rf "$run"
echo "Removed $run."
