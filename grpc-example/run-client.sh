#!/usr/bin/env bash
# Calls the server in all four kinds of gRPC call through the mutual TLS of the sidecars, in Rust and in Python on both ends; then
# tries clients that the server must refuse, and the variant without sidecars. Ends with the count of what was tried.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=grpc-example/grpc.sh
. "$here/grpc.sh"

nginx_runs "$run/server-sidecar.pid" || fail "The demo doesn't run: ./start-demo.sh starts it."
# Before the environment of the emulator, whose CA is not the one of the registry that packages come from.
has_python=yes
prepare_python || has_python=no
connect_hsm
passed=0 failed=0 skipped=0

check() { # TITLE COMMAND…
    local title=$1
    shift
    if "$@" >"$run/check.log" 2>&1; then
        passed=$((passed + 1))
        echo "ok       $title"
        sed 's/^/         | /' "$run/check.log" | head -n 8
    else
        failed=$((failed + 1))
        echo "FAILED   $title"
        sed 's/^/         | /' "$run/check.log" | tail -n 20
    fi
}

# The calls, and the HSM's signatures for them. The first call after a start needs one with each key; connections are kept then.
calls() { # LANGUAGE
    call "$1" && grep -q 'verified=SUCCESS client="CN=greeter-client,O=Azure HSM Demo"' "$run/server-sidecar-access.log"
}
signed_on_both_sides() {
    local client server
    server=$(signatures_with "$SERVER_KEY") client=$(signatures_with "$CLIENT_KEY")
    echo "signatures of the HSM so far: $server with $SERVER_KEY, $client with $CLIENT_KEY (requests and certificates included)"
    [ "$client" -gt "${before_client:-0}" ] && [ "$server" -gt "${before_server:-0}" ]
}
before_server=$(signatures_with "$SERVER_KEY" || true) before_client=$(signatures_with "$CLIENT_KEY" || true)

check "Rust client, Rust server" calls rust
check "the HSM signed for both sides of the handshake" signed_on_both_sides
if [ "$has_python" = yes ]; then
    check "Python client, Rust server" calls python
    start_server python
    check "Rust client, Python server" calls rust
    check "Python client, Python server" calls python
    start_server rust
else
    skipped=$((skipped + 1))
    echo "SKIPPED  Python: grpcio can't be had here: $(tail -n 1 "$run/python.log")"
fi

# Clients that must not come through: refused SOCKET-NAME CERTIFICATE-DIRECTIVES WORDS
refused() {
    local before
    before=$(wc -l <"$run/greeter.log")
    fill_in "$here/client-sidecar.conf.in" "$run/$1.conf" "run=$run" "user=$([ "$(id -u)" -ne 0 ] || echo 'user root;')" \
        "listen=$LISTEN" "tls_port=$TLS_PORT" "name=$1" "address=unix:$sockets/$1.sock" "certificate=$2"
    rm -f "$sockets/$1.sock"
    start_nginx "$run/$1.conf" "$run/$1-error.log"
    wait_until 20 test -S "$sockets/$1.sock"
    local outcome=0
    call rust "$sockets/$1.sock" >"$run/$1.out" 2>&1 || outcome=$?
    cat "$run/$1.out"
    stop_nginx "$run/$1.pid"
    rm -f "$sockets/$1.sock"
    # It failed, by itself, the server's sidecar says why, and the server heard nothing.
    [ "$outcome" -ne 0 ] && [ "$outcome" -lt 124 ] && grep -q "^greeter-client: Unauthenticated: the client certificate is missing or not accepted$" "$run/$1.out" &&
        grep -E "$3" "$run/server-sidecar-error.log" | tail -n 1 &&
        [ "$(wc -l <"$run/greeter.log")" -eq "$before" ]
}
presents() { echo "grpc_ssl_certificate $run/$1.crt; grpc_ssl_certificate_key \"$(nginx_key "$run/client.key")\";"; }
check "refused: no client certificate" refused without "" "client sent no required SSL certificate"
check "refused: a certificate by another CA" refused foreign "$(presents foreign)" "unable to get local issuer certificate|unable to verify"
check "refused: an expired certificate" refused expired "$(presents expired)" "certificate has expired"

# Without sidecars: TLS by OpenSSL and the provider within client and server.
direct() {
    with_hsm start direct "$programs/greeter-server" --listen "$LISTEN:$DIRECT_PORT" --ca "$run/ca.crt" \
        --certificate "$run/server.crt" --key "$run/server.key"
    wait_until 20 grep -q "mutual TLS" "$run/direct.log"
    local outcome=0
    with_hsm timeout 60 "$programs/greeter-client" --connect "localhost:$DIRECT_PORT" --ca "$run/ca.crt" \
        --certificate "$run/client.crt" --key "$run/client.key" || outcome=1
    ! with_hsm timeout 60 "$programs/greeter-client" --connect "localhost:$DIRECT_PORT" --ca "$run/ca.crt" 2>"$run/error" || outcome=1
    stop direct
    return "$outcome"
}
rm -f "$run/direct.log"
check "without sidecars: tonic with OpenSSL and the provider" direct

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
