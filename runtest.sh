#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests. What takes minutes by nature is tried by a sample, and whole with AKV_WHOLE=1
# (CONTRIBUTING.md). The last line is "N passed, N failed, N skipped".
set -uo pipefail
if [ "$#" -gt 0 ]; then
    echo "runtest.sh takes no options: it runs all tests. AKV_WHOLE=1 tries whole what is tried by a sample otherwise." >&2
    exit 2
fi
cd "$(dirname "$0")" || exit 1
. scripts/packages.sh
install_missing build-essential pkg-config libssl-dev openssl curl ca-certificates valgrind || exit 1
require_cargo || exit 1
# Most tests wait most of the time, for emulators and for deadlines.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 3))}

passed=0 failed=0 skipped=0
began=$SECONDS

# Beside each other, since the end of each is the work of one core. The programs are built with the tests, not before them: alone they
# would take some crates with other features, and so all that depends on those a second time.
scripts/release-build.sh akv_provider akv-pkcs11 </dev/null &
modules=$!
cargo build --workspace --lib --bins --tests </dev/null
programs_status=$?
wait "$modules"
modules_status=$?
if [ "$programs_status" -ne 0 ] || [ "$modules_status" -ne 0 ]; then
    echo "The build failed."
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
echo "Built in $((SECONDS - began)) s"

log=$(mktemp)
valgrind_log=$(mktemp)
# A test that can't run here writes a line to this file.
AKV_TEST_SKIPS=$(mktemp)
export AKV_TEST_SKIPS
trap 'rm -f "$log" "$valgrind_log" "$AKV_TEST_SKIPS"' EXIT
# Beside the tests, some of which wait for the last of their group.
./scripts/valgrind.sh </dev/null >"$valgrind_log" 2>&1 &
valgrind=$!
cargo test --workspace --no-fail-fast </dev/null 2>&1 | tee "$log"
cargo_status=${PIPESTATUS[0]}
read -r passed failed skipped < <(awk '
    /^test result:/ { for (i = 2; i <= NF; i++) {
        if ($i == "passed;") p += $(i - 1)
        if ($i == "failed;") f += $(i - 1)
        if ($i == "ignored;") s += $(i - 1) } }
    END { print p + 0, f + 0, s + 0 }' "$log")
# A test program that didn't compile, or died, has no result line.
if [ "$cargo_status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    failed=1
fi

if [ -s "$AKV_TEST_SKIPS" ]; then
    sort "$AKV_TEST_SKIPS" | uniq --count | sed 's/^ *\([0-9]*\) /SKIPPED (\1): /'
    count=$(wc -l <"$AKV_TEST_SKIPS")
    passed=$((passed - count)) skipped=$((skipped + count))
fi

if wait "$valgrind"; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
fi
cat "$valgrind_log"

echo "Built and tested in $((SECONDS - began)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
