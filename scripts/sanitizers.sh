#!/usr/bin/env bash
# The provider, the PKCS#11 module and the client under the tools that find what tests can't see: invalid accesses to memory, races, undefined behaviour.
#
#   scripts/sanitizers.sh [--all]     --all: also what takes minutes (AddressSanitizer on other versions of OpenSSL, ThreadSanitizer, Miri,
#                                     valgrind's memcheck)
#
# What this machine can't run is said and counted, and is no failure. Run after `cargo build -p managed-hsm-emulator`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/emulator.sh
. scripts/built.sh
. scripts/roots.sh
. scripts/instrumented.sh

require_programs managed-hsm-emulator

folder=$(mktemp -d)
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    stop_emulator
    rm -rf "$folder"
}
trap clean_up EXIT

summary="$folder/summary"
ok() { echo "sanitizers: $1: ok ($2)" | tee -a "$summary"; }
failed() { echo "sanitizers: $1: FAILED" | tee -a "$summary"; }
skipped() { echo "sanitizers: $1: SKIPPED ($2)" | tee -a "$summary"; }

# C programs that sign in one thread and in many, load, decrypt, wrap, are refused, fork, unload and leave, and free in many orders.
hsm=managedhsm:MyHSM
programs=(
    "sign_loop $hsm:rsa 1 20"
    "sign_loop $hsm:ec 8 20"
    "operations $hsm:rsa $hsm:ec $hsm:unknown $hsm:aes 3"
    "reload $hsm:ec 3"
    "reload $hsm:ec leave"
    "fork_sign $hsm:ec sign-first"
    "many_signers threads $hsm:ec 100 5"
    "lifecycle unload $hsm:ec 10"
    "lifecycle exec $hsm:ec 5"
    "orders $hsm:ec $folder/software.pem 97"
)

# Those of the PKCS#11 module, which take it as their first argument: NULL and lengths of every kind, threads, children, ends; threads
# that do all there is in one session and in their own, while keys are made, sessions closed, the user logged out, the module ended.
pkcs11_programs=(
    calls messages threads forks "loop 20" "ends exit" "ends return" "ends finalize" "ends dlclose"
    "races own" "races shared" "races finalize" "races close" "races generate" "races login"
)

# Goes before the commands that compile and run a program: what has them look into a root, if it is to be one.
inside=()

# Compiles them with options, and links them with a sanitizer's runtime: Rust's, which fits its compiler. What the compiler says is in
# $folder/log.
compile() {
    local program
    for program in sign_loop operations reload fork_sign many_signers lifecycle orders; do
        compile_one "$program" "tests/c/$program.c" "$@" || return 1
    done
    for program in calls messages threads forks loop ends races; do
        compile_one "pkcs11-$program" "crates/akv-pkcs11/tests/module/$program.c" "$@" || return 1
    done
}

# compile_one NAME SOURCE RUNTIME [OPTION…]
compile_one() {
    local program="$folder/$1" runtime=$3
    # shellcheck disable=SC2054 # the commas are the linker's
    local link=(-rdynamic -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive -ldl -lm -lrt -lresolv -lpthread)
    [[ $1 = pkcs11-* ]] || link=(-lssl -lcrypto "${link[@]}")
    "${inside[@]}" cc -std=gnu11 -g -O1 -c -o "$program.o" "$PWD/$2" "${@:4}" 2>"$folder/log" &&
        "${inside[@]}" cc -o "$program" "$program.o" "${link[@]}" 2>"$folder/log"
}

# Runs a program, and prints what it said if it failed: run_program TITLE COMMAND…
run_program() {
    local title=$1 status=0 log="$folder/log"
    OPENSSL_MODULES="$folder/modules" OPENSSL_CONF=/dev/null "${inside[@]}" timeout 300 "${@:2}" >"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        echo "$title ended with status $status:" >&2
        head -80 "$log" >&2
        return 1
    fi
}

# Runs them with the two modules in a folder. Those of PKCS#11 know of one key.
run_programs() {
    local modules=$1 line words
    mkdir -p "$folder/modules"
    ln -sf "$modules/libakv_provider.so" "$folder/modules/akv_provider.so"
    for line in "${programs[@]}"; do
        read -ra words <<<"$line"
        run_program "$line" "$folder/${words[0]}" "${words[@]:1}" || return 1
    done
    for line in "${pkcs11_programs[@]}"; do
        read -ra words <<<"$line"
        MHSM_PKCS11_CONF="$folder/mhsm-pkcs11.conf" run_program "PKCS#11 $line" "$folder/pkcs11-${words[0]}" "$modules/libakv_pkcs11.so" "${words[@]:1}" || return 1
    done
}

# A runtime of the Rust toolchain: runtime asan.
runtime() {
    compgen -G "$(rustc --print target-libdir)/librustc*_rt.$1.a" | head -1 || true
}

# Reads and writes beyond an allocation or after its end. Leaks are found by valgrind: libcrypto and the module keep what lives as long
# as the process. The runtime of some C compilers has its allocator's locks held in children of processes with threads.
address() {
    local name="AddressSanitizer, C programs"
    build_instrumented
    if [ "$has_address_sanitizer" = no ]; then
        skipped "$name" "this Rust toolchain has no runtime of it"
    elif ! compile "$(runtime asan)" -fsanitize=address; then
        skipped "$name" "the C compiler can't: $(head -1 "$folder/log")"
    elif ASAN_OPTIONS=detect_leaks=0 run_programs "$instrumented"; then
        ok "$name" "$((${#programs[@]} + ${#pkcs11_programs[@]})) programs"
    else
        failed "$name"
    fi
}

# The same of newer versions of OpenSSL, in the roots that scripts/matrix.sh has made: all can be freed in many orders.
address_in_roots() {
    local name="AddressSanitizer, orders of freeing on newer versions" root version runtime reason inside=()
    runtime=$(runtime asan)
    reason=$(root_obstacle)
    if [ "$has_address_sanitizer" = no ] || [ -n "$reason" ]; then
        skipped "$name" "${reason:-this Rust toolchain has no runtime of it}"
        return
    fi
    # A root sees neither the toolchain nor this machine's links.
    cp "$runtime" "$folder/asan.a"
    mkdir -p "$folder/modules"
    ln -sf "$instrumented/libakv_provider.so" "$folder/modules/akv_provider.so"
    for root in "$target_dir"/matrix/*/; do
        root=${root%/}
        # One that was not finished doesn't have it.
        [ -e "$root/packages" ] || continue
        version=$(chroot "$root" openssl version | cut -d' ' -f2)
        inside=(with_mounts "$root" /proc /dev "$PWD" "$target_dir" "$folder" -- chroot "$root")
        if ! compile_one orders tests/c/orders.c "$folder/asan.a" -fsanitize=address; then
            cat "$folder/log" >&2
            failed "AddressSanitizer, orders of freeing on $version"
        elif ASAN_OPTIONS=detect_leaks=0 run_program "orders on $version" "$folder/orders" "$hsm:ec" "$folder/software.pem" 97; then
            ok "AddressSanitizer, orders of freeing on $version" "$(cat "$folder/log")"
        else
            failed "AddressSanitizer, orders of freeing on $version"
        fi
    done
    [ "${#inside[@]}" -gt 0 ] || skipped "$name" "there is no root: scripts/matrix.sh makes them"
}

# Races. The standard library has to be built with it, too, or each of its locks looks like one.
thread() (
    local name="ThreadSanitizer, C programs" runtime host obstacle=''
    if ! with_library_sources; then
        skipped "$name" "$obstacle"
        return
    fi
    runtime=$(runtime tsan)
    if [ -z "$runtime" ]; then
        skipped "$name" "this Rust toolchain has no runtime of it"
    elif ! compile "$runtime"; then
        skipped "$name" "the C compiler can't: $(head -1 "$folder/log")"
    else
        host=$(rustc -vV | awk '/^host:/ { print $2 }')
        RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread" CARGO_TARGET_DIR="$target_dir/thread" \
            cargo build --quiet --locked --package akv_provider --package akv-pkcs11 --target "$host" -Zbuild-std
        # libcrypto is not built with it, and reads some of its tables without locks. Children of processes with threads start threads.
        if TSAN_OPTIONS="ignore_noninstrumented_modules=1 die_after_fork=0" run_programs "$target_dir/thread/$host/debug"; then
            ok "$name" "$((${#programs[@]} + ${#pkcs11_programs[@]})) programs"
        else
            failed "$name"
        fi
    fi
)

# Undefined behaviour in code that calls no C: the boundary's parameters, encodings, names, answers.
interpreted() (
    local name="Miri"
    if ! toolchain_with bin/cargo-miri; then
        skipped "$name" "no toolchain has it: rustup +nightly component add miri"
        return
    fi
    export MIRIFLAGS="-Zmiri-disable-isolation" CARGO_TARGET_DIR="$target_dir/miri" PROPTEST_CASES=4
    if cargo miri test --quiet --locked --package akv_provider --lib -- openssl::params >"$folder/log" 2>&1 &&
        cargo miri test --quiet --locked --package hsm-keys --lib -- der:: digest_info:: key_file:: pem:: >>"$folder/log" 2>&1 &&
        cargo miri test --quiet --locked --package hsm-module --lib -- boundary:: input:: output:: pointer:: \
            >>"$folder/log" 2>&1 &&
        cargo miri test --quiet --locked --package managed-hsm --lib -- uri:: wire:: token:: >>"$folder/log" 2>&1; then
        ok "$name" "$(awk '/^test result/ { passed += $4 } END { print passed + 0 }' "$folder/log") tests"
    else
        tail -60 "$folder/log" >&2
        failed "$name"
    fi
)

memcheck() {
    if ! command -v valgrind >/dev/null; then
        skipped memcheck "valgrind is not installed"
    elif AKV_WHOLE=1 scripts/valgrind.sh; then
        ok memcheck "scripts/valgrind.sh"
    else
        failed memcheck
    fi
}

start_emulator "$profile_dir/managed-hsm-emulator" "$folder"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$folder/software.pem"
create_key k '{"kty":"EC-HSM","crv":"P-256"}'
echo '{"tokens":[{"slotid":0,"resourceName":"MyHSM","keys":["k"]}]}' >"$folder/mhsm-pkcs11.conf"
create_key rsa '{"kty":"RSA-HSM","key_size":2048}'
create_key ec '{"kty":"EC-HSM","crv":"P-256"}'
create_key aes '{"kty":"oct-HSM","key_size":256}'

address
if [ "${1:-}" = --all ]; then
    address_in_roots
    thread
    interpreted
    memcheck
fi

printf '%s ok, %s skipped, %s failed\n' "$(grep -c ': ok ' "$summary" || true)" \
    "$(grep -c ': SKIPPED ' "$summary" || true)" "$(grep -c ': FAILED$' "$summary" || true)"
! grep -q ': FAILED$' "$summary"
