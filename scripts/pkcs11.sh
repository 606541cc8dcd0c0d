#!/usr/bin/env bash
# The PKCS#11 module under the clients of a newer Debian: pkcs11-provider, servers that have it, and libp11's engine with OpenSSL
# 3.5, each script of tests/pkcs11. They run in a root that mmdebstrap makes. Run after `scripts/release-build.sh akv-pkcs11` and
# `cargo build --package managed-hsm-emulator`.
#
#   scripts/pkcs11.sh            all
#   scripts/pkcs11.sh provider   some
#   scripts/pkcs11.sh --suite forky [NAME…]    in the root of another suite, whose pkcs11-provider knows ML-DSA
#   scripts/pkcs11.sh --suite bullseye         libp11's engine with OpenSSL 1.1.1; glibc there is older than this machine's, so the
#                                              module is that of scripts/old-glibc.sh akv-pkcs11
#   scripts/pkcs11.sh --arm64 [NAME…]          in a root of arm64, by qemu: module, emulator and akv are those of scripts/arm64.sh
#
# The root is kept in target/pkcs11. Ends with "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/roots.sh
. scripts/built.sh

suite=trixie
packages=openssl,libengine-pkcs11-openssl,pkcs11-provider,ca-certificates,curl,procps
packages+=,nginx-light,apache2,bind9-utils,haproxy,bind9,bind9-dnsutils,python3
# By a pattern, as its name has a version.
packages+=',~n^linux-kbuild-[0-9]!~v'

# The emulator with this machine's libraries, and a script under its name that runs it with them: bring_emulator FOLDER
bring_emulator() {
    local libraries="$1/emulator-libraries" program="$1/managed-hsm-emulator"
    mkdir -p "$libraries"
    ldd "$profile_dir/managed-hsm-emulator" | grep -o '/[^ ]*' | xargs cp --dereference --target-directory="$libraries"
    cp "$profile_dir/managed-hsm-emulator" "$libraries/"
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$libraries"/ld-linux*.so.* "$libraries" "$libraries/managed-hsm-emulator" >"$program"
    chmod +x "$program"
    # Made of nothing that could be newer.
    echo "$program: " >"$program.d"
}

architecture=
if [ "${1:-}" = --arm64 ]; then
    architecture=arm64
    shift
fi
if [ "${1:-}" = --suite ]; then
    [ "$#" -ge 2 ] || { echo "--suite needs the name of a Debian suite." >&2; exit 2; }
    suite=$2
    shift 2
fi
names=("$@")
# Where the root finds what was built.
built=(CARGO_TARGET_DIR="$target_dir")
if [ "$suite" = bullseye ]; then
    packages=openssl,libengine-pkcs11-openssl,ca-certificates,curl,procps,nginx-light
    [ "${#names[@]}" -gt 0 ] || names=(engine)
    built=(CARGO_TARGET_DIR="$target_dir/old-glibc" PROFILE=release)
    require_programs managed-hsm-emulator || exit
    bring_emulator "$target_dir/old-glibc/release"
fi
[ -z "$architecture" ] || built=(CARGO_TARGET_DIR="$target_dir/$architecture" PROFILE=shipped/release)
if [ "${#names[@]}" -eq 0 ]; then
    for script in tests/pkcs11/*.sh; do
        names+=("$(basename "$script" .sh)")
    done
fi
for name in "${names[@]}"; do
    [ -x "tests/pkcs11/$name.sh" ] || { echo "There is no tests/pkcs11/$name.sh." >&2; exit 2; }
done

reason=$(root_obstacle)
root="$target_dir${architecture:+/$architecture}/pkcs11/$suite"
if [ -n "$reason" ]; then
    echo "0 passed, 0 failed, ${#names[@]} skipped"
    echo "SKIPPED: Debian $suite: $reason"
    exit 77
elif ! make_root "$suite" "$root" "$packages" "$architecture"; then
    echo "no root of $suite could be made" >&2
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for name in "${names[@]}"; do
    printf '\n=== %s\n' "$name"
    with_mounts "$root" /proc /dev "$PWD" "$target_dir" -- \
        env "${built[@]}" chroot "$root" "$PWD/tests/pkcs11/$name.sh" </dev/null 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    good=0 bad=0 not_tried=0
    # A script that died has no last line.
    if ! read -r good bad not_tried < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$log" | tail -n 1) ||
        { [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; }; then
        bad=$((${bad:-0} + 1))
    fi
    passed=$((passed + ${good:-0})) failed=$((failed + bad)) skipped=$((skipped + ${not_tried:-0}))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
