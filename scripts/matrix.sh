#!/usr/bin/env bash
# The end-to-end tests with the provider as it is built here, on OpenSSL of newer Debian releases. Each release gets a
# root file system of its own under target/matrix, made once; its openssl, libraries and compiler take the place of this
# machine's, while emulator and tests run here. Needs root and mmdebstrap. Run after `cargo build --workspace`.
#
#   scripts/matrix.sh [RELEASE]…      trixie (OpenSSL 3.5), forky (3.6), experimental (4.0); all without an argument
set -uo pipefail
cd "$(dirname "$0")/.." || exit

target="${CARGO_TARGET_DIR:-$PWD/target}"
roots="$target/matrix"
packages=openssl,libssl-dev,gcc,libc6-dev,ca-certificates,curl
passed=0 failed=0 skipped=0
table=()

cannot_run() {
    echo "SKIPPED: scripts/matrix.sh, because $1"
    echo "matrix: 0 passed, 0 failed, 1 skipped"
    exit 0
}

# Mounts of its own, which go away with this process.
if [ "${AKV_MATRIX_UNSHARED:-}" != 1 ]; then
    [ "$(id -u)" -eq 0 ] || cannot_run "it needs root for chroot and bind mounts"
    command -v mmdebstrap >/dev/null || cannot_run "mmdebstrap is not installed (apt-get install mmdebstrap)"
    unshare --mount --propagation private true 2>/dev/null || cannot_run "mounts can't be made here"
    AKV_MATRIX_UNSHARED=1 exec unshare --mount --propagation private "$0" "$@"
fi

# The Debian mirror that this machine uses.
mirror() {
    local sources=/etc/apt/sources.list.d/debian.sources
    if [ -f "$sources" ]; then
        awk '/^URIs:/ { print $2; exit }' "$sources"
    else
        awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^http/) { print $i; exit } }' /etc/apt/sources.list
    fi
}

# Makes the root of a release, unless it is there.
make_root() {
    local release=$1 root="$roots/$1" from
    [ "$(cat "$root.made" 2>/dev/null)" = "$packages" ] && return
    from=$(mirror)
    [ -n "$from" ] || { echo "no Debian mirror is set in /etc/apt" >&2; return 1; }
    rm -rf "$root"
    mkdir -p "$roots"
    local options=(--variant=minbase --aptopt='Acquire::Check-Valid-Until "false"')
    if [ "$release" = experimental ]; then
        mmdebstrap "${options[@]}" --include="$packages" --aptopt='APT::Default-Release "experimental"' \
            unstable "$root" "deb $from unstable main" "deb $from experimental main" >"$root.log" 2>&1
    else
        mmdebstrap "${options[@]}" --include="$packages" "$release" "$root" "$from" >"$root.log" 2>&1
    fi || { tail -n 20 "$root.log" >&2; return 1; }
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    echo "$packages" >"$root.made"
}

# What the tests touch is seen in the root under the same path.
mount_into() {
    local root=$1 path
    for path in "$PWD" "$target" "$TMPDIR" /proc /dev; do
        mkdir -p "$root$path"
        mount --rbind "$path" "$root$path" || return 1
    done
}

run_release() {
    local release=$1 root="$roots/$1" log="$roots/$1.test.log" skips="$roots/$1.skips" version result
    if ! make_root "$release"; then
        table+=("$release: SKIPPED, its root file system could not be made")
        skipped=$((skipped + 1))
        return
    fi
    : >"$skips"
    if ! mount_into "$root"; then
        table+=("$release: SKIPPED, mounts could not be made")
        skipped=$((skipped + 1))
        return
    fi
    version=$(chroot "$root" openssl version | cut -d' ' -f2)
    echo "== OpenSSL $version ($release)"
    AKV_TEST_ROOT="$root" AKV_TEST_SKIPS="$skips" \
        cargo test --test end_to_end --no-fail-fast -- --color never </dev/null >"$log" 2>&1
    # shellcheck disable=SC2319 # the status of cargo
    local status=$?
    result=$(grep '^test result:' "$log" | tail -n 1)
    local p f s
    p=$(sed -n 's/.* \([0-9]*\) passed.*/\1/p' <<<"$result")
    f=$(sed -n 's/.* \([0-9]*\) failed.*/\1/p' <<<"$result")
    s=$(wc -l <"$skips")
    if [ -z "$p" ] || { [ "$status" -ne 0 ] && [ "${f:-0}" -eq 0 ]; }; then
        f=1
    fi
    if [ "${f:-0}" -ne 0 ]; then
        sed -n '/^failures:/,$p' "$log" | grep -v AZURE_CLI_ACCESS_TOKEN | tail -n 300 >&2
    fi
    passed=$((passed + ${p:-0} - s)) failed=$((failed + f)) skipped=$((skipped + s))
    table+=("OpenSSL $version ($release): $((${p:-0} - s)) passed, $f failed, $s skipped$(sort -u "$skips" | sed 's/^/; /' | tr -d '\n')")
}

TMPDIR=$(mktemp -d /var/tmp/akv-matrix.XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
if [ "$#" -eq 0 ]; then
    set -- trixie forky experimental
fi
for release; do
    run_release "$release"
done

printf '%s\n' "${table[@]}"
echo "matrix: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
