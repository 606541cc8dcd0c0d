#!/usr/bin/env bash
# Fuzzes what reads bytes from outside, with AddressSanitizer where the toolchain has it, beginning with the committed seeds.
#
#   scripts/fuzz.sh [SECONDS [TARGET…]]     SECONDS: in all, shared by the targets (default 60); TARGET: see fuzz/fuzz_targets
#
# Inputs that reach new code are kept in fuzz/corpus, those that fail in fuzz/artifacts. Prints a line for each target; exit
# status 0 if none failed. Any toolchain will do. The targets evp, dispatch and pkcs11 have an emulator behind them: run
# `cargo build -p managed-hsm-emulator` first.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/emulator.sh
. scripts/built.sh
. scripts/instrumented.sh

seconds=${1:-60}
targets=("${@:2}")
[ "${#targets[@]}" -gt 0 ] || targets=(uri key_file answers http digest_info configuration params evp dispatch pkcs11 pkcs11_configuration)

require_programs managed-hsm-emulator

began=$SECONDS
build_instrumented
echo "fuzz: built in $((SECONDS - began)) s"
[ "$has_address_sanitizer" = yes ] ||
    echo "fuzz: SKIPPED AddressSanitizer: this toolchain has no runtime of it, so the targets run without"

folder=$(mktemp -d)
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    stop_emulator
    rm -rf "$folder"
}
trap clean_up EXIT

start_emulator "$profile_dir/managed-hsm-emulator" "$folder"
create_key rsa '{"kty":"RSA-HSM","key_size":2048}'
create_key ec '{"kty":"EC-HSM","crv":"P-256"}'
create_key ec521 '{"kty":"EC-HSM","crv":"P-521"}'
create_key aes '{"kty":"oct-HSM","key_size":256}'
export AKV_API_VERSION=2026-05-01-preview
create_key ml-dsa '{"kty":"AKP-HSM","alg":"ML-DSA-44"}' "$AKV_API_VERSION"

export OPENSSL_CONF=/dev/null
# libcrypto keeps what it has until the process ends; leaks are found by scripts/valgrind.sh.
export ASAN_OPTIONS=detect_leaks=0

each=$((seconds / ${#targets[@]}))
[ "$each" -gt 0 ] || each=1
failed=0
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    further=()
    [ ! -d "fuzz/seeds/$target" ] || further+=("fuzz/seeds/$target")
    [ ! -f "fuzz/seeds/$target.dict" ] || further+=("-dict=fuzz/seeds/$target.dict")
    log="$folder/$target.log"
    status=0
    # libFuzzer ends at an input that takes 25 s, and at the end of its time; a target that does neither says by SIGABRT where it is.
    timeout --verbose --signal=ABRT --kill-after=30 $((2 * each + 120)) \
        "$instrumented/$target" "fuzz/corpus/$target" "${further[@]}" -artifact_prefix="fuzz/artifacts/$target/" \
        -max_total_time="$each" -timeout=25 -rss_limit_mb=4096 -print_final_stats=1 >"$log" 2>&1 || status=$?
    executions=$(awk '/stat::number_of_executed_units/ { print $2 }' "$log")
    coverage=$(grep -Eo 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -1 || true)
    if [ "$status" -eq 0 ] && [ "${executions:-0}" -gt 0 ]; then
        echo "fuzz $target: ok (${each} s, $executions executions, ${coverage:-no coverage figures})"
    else
        failed=1
        grep -v '^#' "$log" | head -60 >&2
        echo "fuzz $target: FAILED (status $status; the input, if there is one, is in fuzz/artifacts/$target)"
    fi
done
exit "$failed"
