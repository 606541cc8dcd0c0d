#!/usr/bin/env bash
# Stops nginx, and the emulator if there is one. Keys and certificates stay.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=nginx-example/hsm.sh
. "$here/hsm.sh"

stop_nginx "$run/nginx.pid"
echo "nginx is stopped."
stop_emulator
