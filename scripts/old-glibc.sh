#!/usr/bin/env bash
# Builds what is shipped for systems with an older glibc than this machine's, from 2.17 on (RHEL 7 and all that came later), with
# zig's linker, which knows the symbols of each version.
#
#   scripts/old-glibc.sh [PACKAGE…]     PACKAGE: akv_provider, akv-pkcs11, akv; all if none is named. GLIBC=2.28 names another
#                                       version. The emulator stays out: it needs the libcrypto of where it runs
#
# zig and cargo-zigbuild come from the registries that pip and cargo are set up for, into target/old-glibc; what was built is in
# target/old-glibc/release. Fails if what it built needs a newer glibc, and exits with 77 if there is no zig.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/built.sh

glibc=${GLIBC:-2.17}
triple=$(rustc --version --verbose | sed -n 's/^host: //p')
folder="$target_dir/old-glibc"
packages=("$@")
[ "${#packages[@]}" -gt 0 ] || packages=(akv_provider akv-pkcs11 akv)

case $triple in
    *-linux-gnu) ;;
    *) echo "SKIPPED: this machine's target is $triple, which has no glibc" && exit 77 ;;
esac
mkdir -p "$folder"
if ! "$folder/venv/bin/python" -c 'import ziglang' 2>/dev/null &&
    ! { python3 -m venv "$folder/venv" && "$folder/venv/bin/pip" --quiet install ziglang; }; then
    echo "SKIPPED: zig can't be had here (python3 -m venv; pip install ziglang)"
    exit 77
fi
if [ ! -x "$folder/bin/cargo-zigbuild" ] && ! cargo install --locked --quiet --root "$folder" cargo-zigbuild; then
    echo "SKIPPED: cargo-zigbuild can't be had here (cargo install cargo-zigbuild)"
    exit 77
fi

# As in a target folder of cargo's and of scripts/release-build.sh. Cargo's own is another: it would wait for itself where the folder
# of this machine's target is a link to that of the other.
release="build/$triple/release"
mkdir -p "$folder/$release" "$folder/shipped"
ln -sfn "$release" "$folder/release"
ln -sfn "../$release" "$folder/shipped/release"

# cargo-zigbuild finds zig as the module of the python3 that is first in PATH.
export PATH="$folder/venv/bin:$folder/bin:$PATH" CARGO_TARGET_DIR="$folder/build"
newest=0
for package in "${packages[@]}"; do
    # One after the other, as in scripts/release-build.sh.
    touch "$folder/began"
    cargo zigbuild --release --locked --target "$triple.$glibc" --package "$package" </dev/null
    case $package in
        akv_provider) file=libakv_provider.so ;;
        akv-pkcs11) file=libakv_pkcs11.so ;;
        *) file=$package ;;
    esac
    built="$folder/$release/$file"
    case $file in
        *.so) mv "$folder/began" "${built%.so}.began" ;;
    esac
    needed=$(objdump --dynamic-syms "$built" | sed -n 's/.*(\?GLIBC_\([0-9.]*\))\? .*/\1/p' | sort -uV | tail -n 1)
    if [ -z "$needed" ] || [ "$(printf '%s\n' "$needed" "$glibc" | sort -V | tail -n 1)" != "$glibc" ]; then
        echo "FAILED: $file needs glibc '$needed', and not $glibc" >&2
        newest=1
    else
        echo "ok: $file needs glibc $needed"
    fi
done
exit "$newest"
