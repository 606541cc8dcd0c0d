#!/usr/bin/env bash
# Builds both modules, akv and the emulator for arm64, on any architecture: compiled across, in the same way as what is shipped
# (scripts/release-build.sh), against the libraries of an arm64 root of Debian 12, so that they run there and on what is newer.
#
#   scripts/arm64.sh [PACKAGE…]     PACKAGE: akv_provider, akv-pkcs11, akv, managed-hsm-emulator; all if none is named
#
# What was built is in target/arm64/shipped/release. Exits with 77 if this machine can't do it, and says why.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
. scripts/roots.sh
. scripts/built.sh

triple=aarch64-unknown-linux-gnu
prefix=aarch64-linux-gnu
folder="$target_dir/arm64"
packages=("$@")
[ "${#packages[@]}" -gt 0 ] || packages=(akv_provider akv-pkcs11 akv managed-hsm-emulator)

cannot() { echo "SKIPPED: $*" && exit 77; }

install_missing gcc-aarch64-linux-gnu libc6-dev-arm64-cross mmdebstrap qemu-user-static || cannot "the packages above can't be had here"
reason=$(root_obstacle)
[ -z "$reason" ] || cannot "$reason"
rustc --print target-libdir --target "$triple" | xargs test -d || rustup target add "$triple" ||
    cannot "Rust's library for $triple can't be had here (rustup target add $triple)"

# OpenSSL's headers and libraries, for the emulator: nothing else of the root, whose C library would be in the way of the compiler's.
root="$folder/bookworm"
make_root bookworm "$root" libssl-dev,openssl arm64
mkdir -p "$folder/openssl/include" "$folder/openssl/lib"
# Cargo builds anew what is newer than it was.
cp -r --preserve=timestamps "$root/usr/include/openssl" "$root/usr/include/$prefix/openssl" "$folder/openssl/include/"
cp -P --preserve=timestamps "$root/usr/lib/$prefix"/lib{ssl,crypto}.so* "$folder/openssl/lib/"

export AARCH64_UNKNOWN_LINUX_GNU_OPENSSL_DIR="$folder/openssl" CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$prefix-gcc
CARGO_TARGET_DIR="$folder" CARGO_BUILD_TARGET=$triple scripts/release-build.sh "${packages[@]}"
