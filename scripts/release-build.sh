#!/usr/bin/env bash
# Builds the release module so that anyone who builds the same sources with the same tools gets the same bytes: no path of this
# machine is in it. Options go to cargo.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo_home=${CARGO_HOME:-$HOME/.cargo}
target_dir=${CARGO_TARGET_DIR:-$PWD/target}
# Longest first: the last that fits is taken by rustc, the first by gcc in some versions, and none lies within another that matters.
remap=("$cargo_home=/cargo" "$PWD=/source" "$target_dir=/target")
flags=
c_flags=
for pair in "${remap[@]}"; do
    flags+="${flags:+$'\x1f'}--remap-path-prefix=$pair"
    c_flags+=" -ffile-prefix-map=$pair"
done
export CARGO_ENCODED_RUSTFLAGS="$flags" CFLAGS="${CFLAGS:-}$c_flags" CXXFLAGS="${CXXFLAGS:-}$c_flags"
exec cargo build --release --locked --package akv_provider "$@"
