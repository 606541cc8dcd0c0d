#!/usr/bin/env bash
# From certificates to clean-up in one go.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
trap '"$here/cleanup.sh"' EXIT

for script in generate-certs.sh start-demo.sh run-client.sh; do
    printf '\n=== %s\n' "$script"
    "$here/$script"
done
printf '\n=== cleanup.sh\n'
