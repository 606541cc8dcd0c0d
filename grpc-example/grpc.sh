# shellcheck shell=bash
# What the scripts of grpc-example share, besides nginx-example/hsm.sh. Sourced, not run, after `here` is set.
# shellcheck disable=SC2154 # here: set by the script that sources this

# shellcheck source=nginx-example/hsm.sh
. "$here/../nginx-example/hsm.sh"

# Sockets have short paths: a folder of their own, since sun_path takes 108 bytes.
sockets=${SOCKET_DIR:-$run}
programs=${GRPC_TARGET_DIR:-$here/target}/release

# Builds client and server.
build_programs() {
    if [ ! -x "$programs/greeter-server" ] || [ ! -x "$programs/greeter-client" ]; then
        echo "Building the gRPC client and server"
        # shellcheck source=scripts/packages.sh
        (cd "$repository" && . scripts/packages.sh && require_cargo &&
            CARGO_TARGET_DIR="${programs%/release}" cargo build --release --locked --manifest-path "$here/Cargo.toml" </dev/null) ||
            fail "The build failed."
    fi
}

# Sets `python` to an interpreter with grpcio, and makes the code of greeter.proto; fails where that can't be had.
prepare_python() {
    python=$run/python/bin/python
    if ! "$python" -c 'import grpc' 2>/dev/null; then
        rm -rf "$run/python"
        python3 -m venv "$run/python" >"$run/python.log" 2>&1 || return
        "$python" -m pip install --quiet --requirement "$here/python/requirements.txt" >>"$run/python.log" 2>&1 ||
            return
    fi
    mkdir -p "$run/generated"
    "$python" -m grpc_tools.protoc --proto_path "$here/proto" --python_out "$run/generated" --grpc_python_out "$run/generated" \
        "$here/proto/greeter.proto"
}

# Starts a program in the background and notes it: start NAME COMMAND…
start() {
    local name=$1
    shift
    setsid "$@" >>"$run/$name.log" 2>&1 </dev/null &
    echo "$!" >"$run/$name.pid"
}

stop() {
    if [ -f "$run/$1.pid" ]; then
        end_process "$(cat "$run/$1.pid")" TERM
        rm -f "$run/$1.pid"
    fi
}

# The folder is the owner's alone, so nobody else can speak to the sockets.
start_server() { # LANGUAGE
    stop greeter
    rm -f "$sockets/server.sock"
    case $1 in
        rust) start greeter "$programs/greeter-server" --socket "$sockets/server.sock" ;;
        python) PYTHONPATH=$run/generated start greeter "$python" "$here/python/server.py" "$sockets/server.sock" ;;
    esac
    wait_until 20 test -S "$sockets/server.sock" || fail "The gRPC server did not start: $(tail -n 3 "$run/greeter.log")"
}

# The configurations of both sidecars: write_sidecars "USER DIRECTIVE" ADDRESS, where the client's sidecar finds the server's.
write_sidecars() {
    local common=("run=$run" "user=$1" "tls_port=$TLS_PORT")
    mkdir -p "$run/tmp"
    fill_in "$here/server-sidecar.conf.in" "$run/server-sidecar.conf" "${common[@]}" "listen=$LISTEN" \
        "address=unix:$sockets/server.sock" "server_key=$(nginx_key "$run/server.key")"
    fill_in "$here/client-sidecar.conf.in" "$run/client-sidecar.conf" "${common[@]}" "listen=$2" name=client-sidecar \
        "address=unix:$sockets/client.sock" "certificate=grpc_ssl_certificate $run/client.crt; grpc_ssl_certificate_key \"$(nginx_key "$run/client.key")\";"
}

# Calls through the client's sidecar, by a program in Rust or Python: call LANGUAGE [SOCKET]
call() {
    local socket=${2:-$sockets/client.sock}
    case $1 in
        rust) timeout 60 "$programs/greeter-client" --socket "$socket" ;;
        python) PYTHONPATH=$run/generated timeout 60 "$python" "$here/python/client.py" "$socket" ;;
    esac
}
