#!/usr/bin/env bash
# From set-up to clean-up in one go.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
trap '"$here/cleanup.sh"' EXIT

for script in setup-env.sh generate-cert.sh start-server.sh test-client.sh; do
    printf '\n=== %s\n' "$script"
    "$here/$script"
done
printf '\n=== cleanup.sh\n'
