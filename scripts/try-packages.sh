#!/usr/bin/env bash
# Makes the packages, has lintian judge Debian's, and tries them in clean roots of Debian 12, trixie and forky: installed, used, upgraded,
# removed and purged (packaging/try.sh). RPMs are installed, used and removed in a root of Debian 12, by rpm itself.
#
#   scripts/try-packages.sh [SUITE…]
#   scripts/try-packages.sh --arm64 [SUITE…]    packages for arm64, in roots of arm64, by qemu; Debian 12 alone if no suite is named
#
# Roots are kept in target/packages. Ends with "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/packages.sh
. scripts/roots.sh
. scripts/built.sh
. scripts/checks.sh

architecture=
if [ "${1:-}" = --arm64 ]; then
    architecture=arm64
    shift
    [ "$#" -gt 0 ] || set -- bookworm
fi
suites=("$@")
[ "${#suites[@]}" -gt 0 ] || suites=(bookworm trixie forky)
packages="$target_dir${architecture:+/$architecture}/packages"
make=(scripts/make-packages.sh ${architecture:+"--$architecture"})
skipped=0
# Counts what packaging/try.sh or try_rpm said, and shows it.
counted() {
    local output=$1
    cat "$output"
    passed=$((passed + $(grep --count '^ok ' "$output")))
    failed=$((failed + $(grep --count '^FAILED ' "$output")))
}

install_missing mmdebstrap lintian || exit
rm -rf "$packages"/*.deb "$packages"/*.rpm "$packages/now" "$packages/next"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
check "the packages are made" "${make[@]}"
mkdir -p "$packages/now" "$packages/next"
mv "$packages"/*.deb "$packages/now/"
# Later than this version, earlier than any that will be.
check "and as those of a next version" "${make[@]}" --version "$version.1~next" deb
mv "$packages"/*.deb "$packages/next/"
check "lintian finds no error in Debian's" lintian --fail-on error --info --tag-display-limit 0 "$packages"/now/*.deb

reason=$(root_obstacle)
if [ -n "$reason" ]; then
    echo "SKIPPED: $reason"
    skipped=$((skipped + ${#suites[@]} + 1))
    suites=()
fi
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# A fresh root with what the checks need, from one that is kept.
fresh_root() {
    local kept="$packages/roots/$1"
    make_root "$1" "$kept" ca-certificates,curl,openssl,p11-kit,systemd "$architecture" || return
    root=$(mktemp --directory)
    cp --archive "$kept/." "$root/" && cp /etc/resolv.conf "$root/etc/" && chmod 755 "$root" &&
        mkdir -p "$root/packaging" "$root/debs" && cp packaging/try.sh scripts/readme-block.sh README.md "$root/packaging/" || return
    # Those of this machine lead to its mirror.
    cp /etc/apt/apt.conf.d/* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
}

for suite in "${suites[@]}"; do
    echo "=== $suite"
    if ! fresh_root "$suite"; then
        check "a root of $suite" false
        continue
    fi
    cp -r "$packages/now" "$packages/next" "$root/debs/"
    with_mounts "$root" /proc /dev -- chroot "$root" /packaging/try.sh /debs/now /debs/next >"$output" 2>&1 </dev/null ||
        grep -q "^FAILED " "$output" || echo "FAILED  $suite: the checks did not end" >>"$output"
    counted "$output"
    rm -rf --one-file-system "$root"
done

# By rpm itself, which knows nothing of Debian's packages: the files and the scripts are tried, not the names of dependencies.
try_rpm() {
    cat >"$root/packaging/try-rpm.sh" <<'END'
set -eu
rpm --install --nodeps /debs/*.rpm
OPENSSL_MODULES=/usr/lib64/ossl-modules openssl list -providers -provider akv_provider -provider default >/dev/null
echo "ok      RPMs are installed, and openssl loads the provider"
before=$(cat /etc/ssl/openssl.cnf | md5sum)
akv config enable --module /usr/lib64/ossl-modules/akv_provider.so --settings /etc/akv/akv_provider.cnf
echo hello >/tmp/message
managed-hsm-emulator run -- sh -euc '
    akv keys create managedhsm:MyHSM:ec --type ec --curve P-256
    openssl dgst -sha256 -sign managedhsm:MyHSM:ec -out /tmp/ec.sig /tmp/message
    akv verify managedhsm:MyHSM:ec /tmp/message --signature /tmp/ec.sig' >/dev/null
echo "ok      a key of the emulator signs"
rpm --query --configfiles openssl-provider-akv | grep -q akv_provider.cnf
rpm --erase openssl-provider-akv akv-pkcs11 akv managed-hsm-emulator
test "$before" = "$(cat /etc/ssl/openssl.cnf | md5sum)" && test ! -e /usr/bin/akv
echo "ok      they are removed, and openssl.cnf is what it was"
END
    with_mounts "$root" /proc /dev -- chroot "$root" sh /packaging/try-rpm.sh
}
if [ "${#suites[@]}" -gt 0 ]; then
    echo "=== RPMs"
    if fresh_root bookworm && with_mounts "$root" /proc /dev -- chroot "$root" sh -c 'apt-get update -qq && apt-get install -y -qq rpm' >/dev/null 2>&1 </dev/null; then
        cp "$packages"/*.rpm "$root/debs/"
        try_rpm >"$output" 2>&1 </dev/null || echo "FAILED  RPMs" >>"$output"
        counted "$output"
        rm -rf --one-file-system "$root"
    else
        check "a root with rpm" false
    fi
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
