#!/usr/bin/env bash
# Loads a key and signs 10, then 110 times under valgrind: no invalid access, and less than a byte lost for each of
# the 100 further signatures. The same for loading, copying, refused requests, software keys, decryption, key wrap,
# encoders, listings and the PKCS#11 module; and for operations of which many meet a fault. (Orders of freeing are tried under valgrind
# by tests/end_to_end/c_programs.rs.) Without AKV_WHOLE=1, a sample of it. Run after scripts/release-build.sh and `cargo build --workspace`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/emulator.sh
. scripts/built.sh

require_programs managed-hsm-emulator
require_module
require_pkcs11_module
command -v valgrind >/dev/null || { echo "valgrind is not installed." >&2; exit 1; }

folder=$(mktemp -d)
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    stop_emulator
    rm -rf "$folder"
}
trap clean_up EXIT

mkdir "$folder/modules"
ln -s "$module" "$folder/modules/akv_provider.so"
for program in sign_loop operations faults; do
    cc -std=gnu11 -g -O1 -o "$folder/$program" "tests/c/$program.c" -lssl -lcrypto -lpthread
done
cc -std=gnu11 -g -O1 -o "$folder/loop" crates/akv-pkcs11/tests/module/loop.c -ldl -lpthread
start_emulator "$profile_dir/managed-hsm-emulator" "$folder"
create_key k '{"kty":"EC-HSM","crv":"P-256"}'
create_key rsa '{"kty":"RSA-HSM","key_size":2048}'
create_key ec '{"kty":"EC-HSM","crv":"P-256"}'
create_key aes '{"kty":"oct-HSM","key_size":256}'

# Runs a program under valgrind and prints the bytes definitely and indirectly lost.
lost_bytes() {
    local log="$folder/valgrind.log"
    if ! OPENSSL_MODULES="$folder/modules" OPENSSL_CONF=/dev/null \
        valgrind --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=none \
        --show-leak-kinds=none --log-file="$log" "$@" >&2; then
        cat "$log" >&2
        return 1
    fi
    grep -q 'HEAP SUMMARY' "$log" || { echo "valgrind wrote no summary to $log" >&2; return 1; }
    awk '/(definitely|indirectly) lost:/ { gsub(",", "", $4); lost += $4 } END { print lost + 0 }' "$log"
}

# Compares a few and many runs of the operations of a program, whose last argument is their number.
compare() {
    local name=$1 few=$2 many=$3 lost_by_few lost_by_many
    shift 3
    if ! lost_by_few=$(lost_bytes "$@" "$few") || ! lost_by_many=$(lost_bytes "$@" "$many"); then
        echo "valgrind $name: FAILED"
        failed=1
    # The C library's resolver may lose 96 bytes once; a leak per operation is a byte or more.
    elif [ "$((lost_by_many - lost_by_few))" -ge 100 ]; then
        echo "valgrind $name: FAILED (bytes lost $few times: $lost_by_few, $many times: $lost_by_many)"
        failed=1
    else
        echo "valgrind $name: ok (no invalid access; bytes lost $few times: $lost_by_few, $many times: $lost_by_many)"
    fi
}

failed=0
hsm=managedhsm:MyHSM
if [ -z "${AKV_WHOLE:-}" ]; then
    compare "a sample: EC signatures" 5 55 "$folder/sign_loop" "$hsm:ec" 1
    compare "a sample: other operations" 1 11 "$folder/operations" "$hsm:rsa" "$hsm:ec" "$hsm:unknown" "$hsm:aes"
    compare "a sample: PKCS#11" 2 22 "$folder/loop" "$pkcs11_module"
    exit "$failed"
fi
compare "PKCS#11" 10 110 "$folder/loop" "$pkcs11_module"
compare "RSA signatures" 10 110 "$folder/sign_loop" "$hsm:rsa" 1
compare "EC signatures" 10 110 "$folder/sign_loop" "$hsm:ec" 1
compare "other operations" 10 110 "$folder/operations" "$hsm:rsa" "$hsm:ec" "$hsm:unknown" "$hsm:aes"

# Of the operations whose answer is a value, one attempt in three meets a fault.
stop_emulator
kinds=(request-timeout throttled internal-error bad-gateway claims-challenge drop reset lost-answer half-body malformed-json garbage
    twice huge-body wrong-length wrong-value close)
options=()
for operation in sign decrypt,path=/keys/decrypt/ unwrapkey rng; do
    for kind in "${kinds[@]}"; do
        options+=(--fault "$kind,operation=$operation,share=0.025")
    done
done
start_emulator "$profile_dir/managed-hsm-emulator" "$folder" "${options[@]}"
for key in pkcs1 pss decrypt; do
    create_key "$key" '{"kty":"RSA-HSM","key_size":2048}'
done
for key in load ec; do
    create_key "$key" '{"kty":"EC-HSM","crv":"P-256"}'
done
for key in wrap encrypt; do
    create_key "$key" '{"kty":"oct-HSM","key_size":256}'
done
export AKV_RANDOM=MyHSM
compare "operations among faults" 3 33 "$folder/faults" repeat new
exit "$failed"
