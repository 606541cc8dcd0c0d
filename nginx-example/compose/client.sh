#!/usr/bin/env bash
# Runs in a container of compose.yaml: asks each server, HOST:PORT, for its page by verified TLS, and shows the answer.
set -euo pipefail

page() {
    printf 'GET / HTTP/1.0\r\nHost: localhost\r\n\r\n' |
        timeout 20 openssl s_client -quiet -ign_eof -connect "$1" -servername localhost -verify_hostname localhost \
            -CAfile /run/example/ca.crt -verify_return_error 2>/tmp/error
}

for server; do
    deadline=$((SECONDS + 60))
    until answer=$(page "$server") && [[ $answer = *"Hello from nginx"* ]]; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "$server does not answer: $answer $(</tmp/error)" >&2
            exit 1
        fi
        sleep 1
    done
    echo "$server answers by verified TLS:"
    sed 's/\r$//; 1,/^$/d' <<<"$answer"
done
echo "The client has its pages."
