#!/usr/bin/env bash
# Runs in a container of compose.yaml: calls the server through the sidecars as soon as they are there.
set -euo pipefail

deadline=$((SECONDS + 60))
until answer=$(greeter-client --socket /sockets/client.sock 2>&1); do
    if [ "$SECONDS" -ge "$deadline" ]; then
        echo "The server can't be called: $answer" >&2
        exit 1
    fi
    sleep 1
done
echo "$answer"
echo "The client has its answers."
