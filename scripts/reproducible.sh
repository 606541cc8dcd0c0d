#!/usr/bin/env bash
# Builds the release module twice, from copies of the committed sources in two folders with two target folders: both must be the
# same file, byte for byte, and name none of the folders. Takes two release builds. Prints the SHA-256.
#
#   scripts/reproducible.sh [COMMIT]      COMMIT: what to build (default HEAD)
set -euo pipefail
cd "$(dirname "$0")/.."

commit=$(git rev-parse --verify "${1:-HEAD}^{commit}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The date of the commit takes the place of the time of the build, for all that asks for one.
SOURCE_DATE_EPOCH=$(git show --no-patch --format=%ct "$commit")
export SOURCE_DATE_EPOCH

# What is in the environment of one builder and not of the other must not matter, but flags do.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CFLAGS CXXFLAGS

hashes=()
for name in one "the-other"; do
    source="$folder/$name/source"
    target="$folder/$name/build-$name"
    mkdir -p "$source"
    git archive "$commit" | tar -x -C "$source"
    echo "reproducible: building $commit in $source"
    (cd "$source" && CARGO_TARGET_DIR="$target" scripts/release-build.sh)
    module="$target/shipped/release/libakv_provider.so"
    if strings -a "$module" | grep -F -e "$folder" -e "$HOME/" | head -5 | grep .; then
        echo "reproducible: FAILED: the module names folders of the machine that built it" >&2
        exit 1
    fi
    hashes+=("$(sha256sum "$module" | cut -d' ' -f1)")
    # The second build needs the room.
    cp "$module" "$folder/$name.so"
    rm -rf "$target"
done

if [ "${hashes[0]}" != "${hashes[1]}" ]; then
    echo "reproducible: FAILED: ${hashes[0]} and ${hashes[1]}" >&2
    cmp -l "$folder/one.so" "$folder/the-other.so" | wc -l | sed 's/^/bytes that differ: /' >&2
    exit 1
fi
echo "reproducible: ok (libakv_provider.so of $commit by $(rustc --version): sha256 ${hashes[0]})"
