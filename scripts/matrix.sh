#!/usr/bin/env bash
# The end-to-end tests with the same built provider on several versions of OpenSSL: this machine's, and those of newer
# Debian suites. `openssl` and the C programs of the tests run in a root of that suite; the emulator runs here.
#
#   scripts/matrix.sh              all versions
#   scripts/matrix.sh 3.5 4.0      some; `here` is this machine's
#   scripts/matrix.sh --arm64 [VERSION…]    the modules of scripts/arm64.sh in roots of arm64, by qemu; 3.5 if no version is named
#
# With AKV_LONG=1 also the tests that take long and say the same of each. Roots are kept in target/matrix. Ends with a table, the
# reason for each skip, and "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# Roots are made and entered as root; a user is that in a namespace of their own, where the system allows it.
if [ "$(id -u)" -ne 0 ] && unshare --map-root-user --map-auto --mount true 2>/dev/null; then
    exec unshare --map-root-user --map-auto --mount scripts/matrix.sh "$@"
fi

. scripts/packages.sh
. scripts/roots.sh
. scripts/built.sh
require_cargo || exit 1
architecture=
if [ "${1:-}" = --arm64 ]; then
    architecture=arm64
    shift
    [ "$#" -gt 0 ] || set -- 3.5
fi
# Most tests wait most of the time, for emulators and for deadlines.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}

# Version, Debian suite, and what to install there: OpenSSL with its own providers of that version, and the other providers, with what
# they need.
others=pkcs11-provider,softhsm2,tpm2-openssl,libtss2-tcti-swtpm0t64,swtpm
suites=(
    "3.5 trixie openssl,libssl-dev,openssl-provider-fips,openssl-provider-legacy,$others"
    "3.6 forky openssl,libssl-dev,openssl-provider-fips,openssl-provider-legacy,$others"
    "4.0 experimental openssl/experimental,libssl-dev/experimental,openssl-provider-fips/experimental,openssl-provider-legacy/experimental,$others"
)
tools=gcc,libc6-dev,ca-certificates,curl

roots="$target_dir/matrix"
# Whose shipped modules are tried.
built="$target_dir"
if [ -n "$architecture" ]; then
    roots="$target_dir/$architecture/matrix"
    built="$target_dir/$architecture"
else
    # It knows no programs that qemu runs.
    tools+=,valgrind
fi
log='' skips='' temporary=''
passed=0 failed=0 skipped=0
table=() reasons=()

# shellcheck disable=SC2317 # the trap calls it
clean_up() { rm -rf "$log" "$skips" "$temporary"; }
trap clean_up EXIT

# A field of the result lines in the log, added up.
count() {
    awk -v wanted="$1;" '/^test result:/ { for (i = 2; i <= NF; i++) if ($i == wanted) sum += $(i - 1) }
        END { print sum + 0 }' "$log"
}

# Runs the tests with the environment that is given, and notes the outcome of a version.
try_version() {
    local version=$1 name=$2 status good bad not_tried line
    local leave_out=()
    shift 2
    # Long, and about what is the same with each: our own verification, the client. runtest.sh has them with this machine's OpenSSL,
    # and 3.5 is the first with all operations.
    if [ -z "${AKV_LONG:-}" ]; then
        leave_out=(--skip vectors::)
        [ "$version" = 3.5 ] || leave_out+=(--skip faults:: --skip lifecycle::)
    fi
    printf '\n=== OpenSSL %s (%s)\n' "$version" "$name"
    # A test that can't be tried ends well, and writes a line to this file.
    : >"$skips"
    AKV_TEST_SKIPS="$skips" AKV_TEST_BUILT="$built" "$@" cargo test --workspace --test end_to_end --no-fail-fast -- "${leave_out[@]}" </dev/null 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    not_tried=$(wc -l <"$skips")
    good=$(($(count passed) - not_tried)) bad=$(count failed)
    # A test program that didn't start, or died, has no result line.
    if [ "$bad" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$good" -le 0 ]; }; then
        bad=1
    fi
    while IFS= read -r line; do
        reasons+=("$version: $line")
    done <"$skips"
    table+=("$(printf '%-8s %-34s %7d %7d %8d' "$version" "$name" "$good" "$bad" "$not_tried")")
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + not_tried))
}

skip_version() {
    printf '\n=== OpenSSL %s: SKIPPED: %s\n' "$1" "$2"
    table+=("$(printf '%-8s %-34s %7s %7s %8s' "$1" "not tried" - - all)")
    reasons+=("$1: all tests: $2")
    skipped=$((skipped + 1))
}

fail_version() {
    printf '\n=== OpenSSL %s: FAILED: %s\n' "$1" "$2"
    table+=("$(printf '%-8s %-34s %7s %7s %8s' "$1" "$2" 0 1 0)")
    failed=$((failed + 1))
}

# Tries the version of a Debian suite.
try_suite() {
    local version=$1 suite=$2 packages=$3 root="$roots/$2" found
    if ! make_root "$suite" "$root" "$packages,$tools" "$architecture"; then
        fail_version "$version" "no root of $suite could be made"
        return
    fi
    found=$(chroot "$root" openssl version | cut -d' ' -f2)
    if [[ $found != "$version".* ]]; then
        skip_version "$version" "Debian $suite has OpenSSL $found now: change the table in scripts/matrix.sh"
        return
    fi
    try_version "$version" "$found of Debian $suite${architecture:+, $architecture}" \
        with_mounts "$root" /proc /dev "$PWD" "$target_dir" "$temporary" -- env TMPDIR="$temporary" AKV_TEST_ROOT="$root" AKV_TEST_OPENSSL="$version"
}

wanted() {
    local version
    for version in "${versions[@]}"; do
        [ "$version" = "$1" ] && return 0
    done
    return 1
}

known=(here)
for entry in "${suites[@]}"; do
    known+=("${entry%% *}")
done
versions=("$@")
[ "$#" -gt 0 ] || versions=("${known[@]}")
for version in "${versions[@]}"; do
    if [[ " ${known[*]} " != *" $version "* ]]; then
        echo "There is no '$version' here: give some of ${known[*]}." >&2
        exit 2
    elif [ "$version$architecture" = herearm64 ]; then
        echo "This machine's OpenSSL runs no modules of arm64: name another version with --arm64." >&2
        exit 2
    fi
done

build=scripts/release-build.sh
[ -z "$architecture" ] || build=scripts/$architecture.sh
"$build" akv_provider akv-pkcs11 </dev/null
status=$?
if [ "$status" -eq 77 ]; then
    echo "0 passed, 0 failed, ${#versions[@]} skipped"
    exit 77
fi
if [ "$status" -ne 0 ] || ! { cargo build --workspace && cargo test --no-run --workspace --test end_to_end; } </dev/null; then
    echo "The build failed."
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
log=$(mktemp) skips=$(mktemp)
temporary=$(mktemp --directory)
mkdir -p "$target_dir"

if wanted here; then
    found=$(openssl version | cut -d' ' -f2)
    try_version "${found%.*}" "$found of this machine" env
fi
reason=$(root_obstacle)
for entry in "${suites[@]}"; do
    read -r version suite packages <<<"$entry"
    if ! wanted "$version"; then
        continue
    elif [ -n "$reason" ]; then
        skip_version "$version" "$reason"
    else
        try_suite "$version" "$suite" "$packages"
    fi
done

printf '\n=== The same libakv_provider.so on each OpenSSL\n'
printf '%-8s %-34s %7s %7s %8s\n' OpenSSL where passed failed skipped
printf '%s\n' "${table[@]}"
if [ "${#reasons[@]}" -gt 0 ]; then
    printf '\nSkipped:\n'
    printf '  %s\n' "${reasons[@]}"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
