#!/usr/bin/env bash
# Stops what runs and removes all that the scripts made, the emulator's keys too. Your .env, your HSM and test-results.md stay.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/stop-server.sh"
# shellcheck source=nginx-example/hsm.sh
. "$here/hsm.sh"

rm -rf "$run"
echo "Removed $run."
