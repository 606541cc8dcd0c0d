#!/usr/bin/env bash
# Whether the packages that other projects would use, the client and the emulator, are fit for crates.io: what their manifests say, what
# is in them, that each builds from what is in it alone, and that its examples run from that. Nothing is published, and
# there is no earlier release that cargo-semver-checks could compare with.
#
# Needs the program managed-hsm-emulator (`cargo build`). Ends with "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/built.sh
. scripts/packages.sh
. scripts/checks.sh
require_cargo
require_programs managed-hsm-emulator

emulator=$profile_dir/managed-hsm-emulator
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# Both share what they are built from; the workspace's own settings for builds aren't theirs.
export CARGO_TARGET_DIR="$target_dir/crates"
# Not within this workspace, which they aren't members of.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unpacked() { echo "$work/$1-$version"; }

# What crates.io asks for, and what it lists a package by. An address of the repository isn't among it while there is none.
describes() {
    cargo metadata --format-version 1 --no-deps --locked | python3 -c '
import json, sys
wanted = {"description": str, "license": str, "readme": str, "rust_version": str, "keywords": list, "categories": list}
package = next(one for one in json.load(sys.stdin)["packages"] if one["name"] == sys.argv[1])
missing = [name for name, kind in wanted.items() if not package[name] or not isinstance(package[name], kind)]
long = [word for word in package["keywords"] if len(word) > 20]
untold = [one["name"] for one in package["dependencies"] if one["kind"] != "dev" and one["req"] == "*"]
print("missing:", missing, "long:", long, "without a version:", untold)
sys.exit(bool(missing or long or untold or len(package["keywords"]) > 5))
' "$1"
}
holds() {
    local files name
    files=$(cargo package --locked --allow-dirty --list --package "$1") || return
    for name in README.md LICENSE Cargo.lock src/lib.rs; do
        grep -qx "$name" <<<"$files" || { echo "it has no $name"; return 1; }
    done
    # They need what only the repository has.
    ! grep -E '^(tests|benches|packages)/' <<<"$files"
}
builds() {
    cargo package --locked --allow-dirty --package "$1" &&
        tar --extract --gzip --file "$CARGO_TARGET_DIR/package/$1-$version.crate" --directory "$work"
}
# By what is in the package: runs_example PACKAGE EXAMPLE [COMMAND BEFORE]…
runs_example() {
    local package=$1 example=$2
    shift 2
    cargo build --locked --manifest-path "$(unpacked "$package")/Cargo.toml" --example "$example" &&
        "$@" "$CARGO_TARGET_DIR/debug/examples/$example"
}

for package in managed-hsm managed-hsm-emulator; do
    check "$package: its manifest" describes "$package"
    check "$package: what is in it" holds "$package"
    check "$package: builds by itself" builds "$package"
done
check "managed-hsm: examples in its documents" cargo test --locked --doc --manifest-path "$(unpacked managed-hsm)/Cargo.toml"
check "managed-hsm: its example, with an emulator" runs_example managed-hsm sign "$emulator" run --
check "managed-hsm-emulator: its example, in a process of its own" runs_example managed-hsm-emulator in_a_test
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
