# shellcheck shell=bash disable=SC2034
# Starts and stops a Managed HSM emulator for a script, and creates keys in it. Sourced, not run.
#
#   start_emulator PROGRAM DIR [OPTION of serve]…   exports AZURE_MANAGEDHSM_URL, AKV_CA_FILE and AZURE_CLI_ACCESS_TOKEN
#   serve_emulator PROGRAM DIR [OPTION of serve]…   leaves the commands that export the endpoint and who may log in to it, in $emulator_identity
#   create_key NAME JSON [API_VERSION]              JSON: the body of the create request; notes the name in $created_keys
#   stop_emulator                stops what start_emulator started; does nothing if there is nothing

emulator_pid=
created_keys=()

serve_emulator() {
    local program=$1 dir=$2
    shift 2
    "$program" serve --data-dir "$dir/hsm" "$@" >"$dir/emulator.out" 2>"$dir/requests.log" &
    emulator_pid=$!
    if ! emulator_identity=$("$program" env --identity --data-dir "$dir/hsm" --wait 30); then
        cat "$dir/emulator.out" "$dir/requests.log" >&2
        return 1
    fi
    # It accepts connections before it says where all of its ports are.
    until grep -q '^https://' "$dir/emulator.out"; do
        kill -0 "$emulator_pid" || { cat "$dir/requests.log" >&2; return 1; }
        sleep 0.05
    done
}

start_emulator() {
    local exports
    serve_emulator "$@" && exports=$("$1" env --data-dir "$2/hsm") && eval "$exports"
}

create_key() {
    curl --silent --show-error --fail --max-time 60 --cacert "$AKV_CA_FILE" \
        --header "Authorization: Bearer $AZURE_CLI_ACCESS_TOKEN" \
        --header "Content-Type: application/json" --data "$2" --output /dev/null \
        "$AZURE_MANAGEDHSM_URL/keys/$1/create?api-version=${3:-7.4}" && created_keys+=("$1")
}

stop_emulator() {
    if [ -n "$emulator_pid" ]; then
        kill "$emulator_pid" 2>/dev/null || true
        wait "$emulator_pid" 2>/dev/null || true
        emulator_pid=
    fi
}
