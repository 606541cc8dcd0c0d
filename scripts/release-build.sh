#!/usr/bin/env bash
# The one way in which what is installed, tested and measured is built: from the locked versions, with the features of the package
# alone, and so that anyone who builds the same sources with the same tools gets the same bytes, with no path of this machine in
# them. All goes to target/shipped/release, where no other build writes. Both modules can be loaded from there: links beside them have
# the names that programs look for, akv_provider.so and akv_pkcs11.so.
#
#   scripts/release-build.sh [PACKAGE…] [-- OPTION of cargo…]    PACKAGE: akv_provider, akv-pkcs11, akv, managed-hsm-emulator; all of
#                                                                these if none is named
#   scripts/release-build.sh --check [PACKAGE]     prints the path of a module, by default the provider's; fails if it isn't there,
#                                                  or older than its sources
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/built.sh

if [ "${1:-}" = --check ]; then
    case ${2:-akv_provider} in
        akv_provider) require_module && echo "$module" ;;
        akv-pkcs11) require_pkcs11_module && echo "$pkcs11_module" ;;
        *) echo "'$2' is no module: akv_provider, akv-pkcs11." >&2; exit 2 ;;
    esac
    exit
fi

all=(akv_provider akv-pkcs11 akv managed-hsm-emulator)
packages=()
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
        akv_provider | akv-pkcs11 | akv | managed-hsm-emulator) packages+=("$1") ;;
        *) echo "'$1' is no package that is shipped: ${all[*]}." >&2; exit 2 ;;
    esac
    shift
done
[ "$#" -eq 0 ] || shift
[ "${#packages[@]}" -gt 0 ] || packages=("${all[@]}")

# Longest first: the last that fits is taken by rustc, the first by gcc in some versions, and none lies within another that matters.
remap=("${CARGO_HOME:-$HOME/.cargo}=/cargo" "$PWD=/source" "$shipped=/target")
flags=
c_flags=
for pair in "${remap[@]}"; do
    flags+="${flags:+$'\x1f'}--remap-path-prefix=$pair"
    c_flags+=" -ffile-prefix-map=$pair"
done
export CARGO_ENCODED_RUSTFLAGS="$flags" CFLAGS="${CFLAGS:-}$c_flags" CXXFLAGS="${CXXFLAGS:-}$c_flags" CARGO_TARGET_DIR="$shipped"

echo "Building ${packages[*]}: all four take about seven minutes on two cores the first time, and seconds after that." >&2
mkdir -p "$shipped"
# Another build may run beside this one.
began=$shipped/began.$$
trap 'rm -f "$began"' EXIT
# One after the other: of packages that it builds together, cargo gives each the features that any of them needs.
for package in "${packages[@]}"; do
    # What changes from here on is newer.
    touch "$began"
    cargo build --release --locked --package "$package" "$@" </dev/null
    case $package in
        akv_provider) mv "$began" "$module_stamp" && file=${module##*/} && ln -sf "$file" "$shipped/release/akv_provider.so" ;;
        akv-pkcs11) mv "$began" "$pkcs11_module_stamp" && file=${pkcs11_module##*/} && ln -sf "$file" "$shipped/release/akv_pkcs11.so" ;;
        *) file=$package ;;
    esac
    # What is built for another target is in a folder of that, and so is cargo's list of what it was built from.
    if [ -n "${CARGO_BUILD_TARGET:-}" ]; then
        ln -sf "../$CARGO_BUILD_TARGET/release/$file" "../$CARGO_BUILD_TARGET/release/${file%.so}.d" "$shipped/release/"
    fi
done
