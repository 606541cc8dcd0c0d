#!/usr/bin/env bash
# Loads a key and signs 10, then 110 times under valgrind: no invalid access, and less than a byte lost for each of
# the 100 further signatures. Run after `cargo build --workspace`; PROFILE names another profile than debug.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/emulator.sh

profile="${CARGO_TARGET_DIR:-$PWD/target}/${PROFILE:-debug}"
if [ ! -x "$profile/managed-hsm-emulator" ] || [ ! -f "$profile/libakv_provider.so" ]; then
    echo "Nothing is built in $profile: run 'cargo build --workspace' first." >&2
    exit 1
fi
command -v valgrind >/dev/null || { echo "valgrind is not installed." >&2; exit 1; }

folder=$(mktemp -d)
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    stop_emulator
    rm -rf "$folder"
}
trap clean_up EXIT

mkdir "$folder/modules"
ln -s "$profile/libakv_provider.so" "$folder/modules/akv_provider.so"
cc -std=gnu11 -g -O1 -o "$folder/sign_loop" tests/c/sign_loop.c -lssl -lcrypto -lpthread
start_emulator "$profile/managed-hsm-emulator" "$folder"
create_key rsa '{"kty":"RSA-HSM","key_size":2048}'
create_key ec '{"kty":"EC-HSM","crv":"P-256"}'

# Prints the bytes definitely and indirectly lost by a run with so many signatures.
lost_bytes() {
    local log="$folder/$1-$2.log"
    if ! OPENSSL_MODULES="$folder/modules" OPENSSL_CONF=/dev/null \
        valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=none \
        --show-leak-kinds=none --log-file="$log" -v \
        "$folder/sign_loop" "managedhsm:MyHSM:$1" 1 "$2" >&2; then
        cat "$log" >&2
        return 1
    fi
    awk '/(definitely|indirectly) lost:/ { gsub(",", "", $4); lost += $4 } END { print lost + 0 }' "$log"
}

failed=0
for key in rsa ec; do
    few=$(lost_bytes "$key" 10)
    many=$(lost_bytes "$key" 110)
    # Up to a thread's last buffers may count as lost when the process ends; a leak per operation is a byte or more.
    if [ "$((many - few))" -lt 100 ]; then
        echo "valgrind $key: ok (no invalid access; bytes lost by 10 signatures: $few, by 110: $many)"
    else
        echo "valgrind $key: FAILED (bytes lost by 10 signatures: $few, by 110: $many)"
        failed=1
    fi
done
exit "$failed"
