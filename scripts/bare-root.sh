#!/usr/bin/env bash
# What README has a newcomer do, in a bare Debian: mmdebstrap's minbase of bookworm, and this machine's Rust toolchain. The quick start, the
# installation from the sources, the block "On the emulator" with what was installed, and all tests. The committed sources are tried.
#
#   scripts/bare-root.sh [COMMAND…]     instead of these four
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/packages.sh
. scripts/roots.sh
. scripts/built.sh

install_missing mmdebstrap || exit
require_cargo || exit
reason=$(root_obstacle)
if [ -n "$reason" ]; then
    echo "SKIPPED: $reason"
    exit 77
fi
commands=("$@")
[ "${#commands[@]}" -gt 0 ] || commands=(./scripts/quickstart.sh ./ubuntubuild.sh ./scripts/readme-block.sh ./runtest.sh)

root=$(mktemp --directory)
# shellcheck disable=SC2317 # the trap calls it
# The mounts ended with their commands; --one-file-system is for whatever is left.
clean_up() { rm -rf --one-file-system "$root"; }
trap clean_up EXIT
put_suite bookworm "$root" || exit
chmod 755 "$root"
mkdir "$root/source"
git archive HEAD | tar --extract --directory="$root/source" || exit
cp /etc/resolv.conf "$root/etc/"
echo "127.0.0.1 localhost" >"$root/etc/hosts"

# What leads cargo to its registry from here: settings, downloads, and whom to trust.
sysroot=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
mkdir -p "$cargo_home/registry" "$root$cargo_home"
environment=(HOME="$HOME" CARGO_HOME="$cargo_home" PATH="$sysroot/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
for file in config.toml config; do
    [ ! -f "$cargo_home/$file" ] || cp "$cargo_home/$file" "$root$cargo_home/"
done
if [ -f "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" ]; then
    cp --dereference "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$root/trusted.pem"
    environment+=(SSL_CERT_FILE=/trusted.pem)
fi
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name:-}" ] || environment+=("$name=${!name}")
done

failed=0
for command in "${commands[@]}"; do
    began=$SECONDS
    if with_mounts "$root" /proc /dev "$sysroot" "$cargo_home/registry" -- \
        chroot "$root" env --ignore-environment "${environment[@]}" sh -c "cd /source && exec $command" </dev/null; then
        echo "ok: $command in a bare Debian ($((SECONDS - began)) s)"
    else
        echo "FAILED: $command in a bare Debian ($((SECONDS - began)) s)"
        failed=1
    fi
done
exit "$failed"
