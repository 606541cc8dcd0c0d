#!/usr/bin/env bash
# Builds both modules and akv twice, from copies of the committed sources in two folders with two target folders:
# each must be the same file, byte for byte, and name none of the folders. Takes two release builds. Prints each SHA-256.
#
#   scripts/reproducible.sh [COMMIT]      COMMIT: what to build (default HEAD)
set -euo pipefail
cd "$(dirname "$0")/.."

files=(libakv_provider.so libakv_pkcs11.so akv)
commit=$(git rev-parse --verify "${1:-HEAD}^{commit}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The date of the commit takes the place of the time of the build, for all that asks for one.
SOURCE_DATE_EPOCH=$(git show --no-patch --format=%ct "$commit")
export SOURCE_DATE_EPOCH

# What is in the environment of one builder and not of the other must not matter, but flags do.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CFLAGS CXXFLAGS

failed=0
for name in one "the-other"; do
    source="$folder/$name/source"
    target="$folder/$name/build-$name"
    mkdir -p "$source" "$folder/$name/built"
    git archive "$commit" | tar -x -C "$source"
    echo "reproducible: building $commit in $source"
    (cd "$source" && CARGO_TARGET_DIR="$target" scripts/release-build.sh akv_provider akv-pkcs11 akv)
    for file in "${files[@]}"; do
        mv "$target/shipped/release/$file" "$folder/$name/built/"
        if strings -a "$folder/$name/built/$file" | grep -F -e "$folder" -e "$HOME/" | head -5 | grep .; then
            echo "reproducible: FAILED: $file names folders of the machine that built it" >&2
            failed=1
        fi
    done
    # The second build needs the room.
    rm -rf "$target"
done

for file in "${files[@]}"; do
    one="$folder/one/built/$file" other="$folder/the-other/built/$file"
    if cmp -s "$one" "$other"; then
        echo "reproducible: ok ($file of $commit by $(rustc --version): sha256 $(sha256sum "$one" | cut -d' ' -f1))"
    else
        echo "reproducible: FAILED: $file: $(cmp -l "$one" "$other" | wc -l) bytes differ" >&2
        failed=1
    fi
done
exit "$failed"
