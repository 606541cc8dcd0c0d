#!/usr/bin/env bash
# Stops nginx, and the emulator if there is one. Keys and certificates stay.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=nginx-example/hsm.sh
. "$here/hsm.sh"

outcome="nginx did not run."
if nginx_runs "$run/nginx.pid"; then
    outcome="nginx is stopped."
fi
stop_nginx "$run/nginx.pid"
echo "$outcome"
stop_emulator
