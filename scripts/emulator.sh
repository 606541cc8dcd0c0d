# shellcheck shell=bash
# Starts and stops a Managed HSM emulator for a script, and creates keys in it. Sourced, not run.
#
#   start_emulator PROGRAM DIR [OPTION of serve]…   exports AZURE_MANAGEDHSM_URL, AKV_CA_FILE and AZURE_CLI_ACCESS_TOKEN
#   create_key NAME JSON         JSON: the body of the create request
#   stop_emulator                stops what start_emulator started; does nothing if there is nothing

emulator_pid=

start_emulator() {
    local program=$1 dir=$2 exports
    shift 2
    "$program" serve --data-dir "$dir/hsm" "$@" >"$dir/emulator.out" 2>"$dir/requests.log" &
    emulator_pid=$!
    if ! exports=$("$program" env --data-dir "$dir/hsm" --wait 30); then
        cat "$dir/emulator.out" "$dir/requests.log" >&2
        return 1
    fi
    eval "$exports"
}

create_key() {
    curl --silent --show-error --fail-with-body --max-time 60 --cacert "$AKV_CA_FILE" \
        --header "Authorization: Bearer $AZURE_CLI_ACCESS_TOKEN" \
        --header "Content-Type: application/json" --data "$2" --output /dev/null \
        "$AZURE_MANAGEDHSM_URL/keys/$1/create?api-version=7.4"
}

stop_emulator() {
    if [ -n "$emulator_pid" ]; then
        kill "$emulator_pid" 2>/dev/null || true
        wait "$emulator_pid" 2>/dev/null || true
        emulator_pid=
    fi
}
