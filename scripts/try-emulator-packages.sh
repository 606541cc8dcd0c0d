#!/usr/bin/env bash
# Builds the emulator's packages for Python and Node.js as their README files say, installs each where there is no emulator, and runs
# its tests with the program that it carries. What can't be had here is skipped, with the reason.
#
#   scripts/try-emulator-packages.sh [python] [node]     both, unless one is named
# shellcheck disable=SC2317 # the trap and check call functions
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/packages.sh

sources="$PWD/crates/managed-hsm-emulator/packages"
clients="$PWD/crates/managed-hsm-emulator/tests/clients"
passed=0 failed=0 skipped=0
folder=$(mktemp --directory)

clean_up() {
    rm -rf "$folder" "$sources/node/bin"
}
trap clean_up EXIT

check() {
    local what=$1
    shift
    if "$@" >"$folder/log" 2>&1 </dev/null; then
        echo "ok      $what"
        passed=$((passed + 1))
        return
    fi
    cat "$folder/log"
    echo "FAILED  $what"
    failed=$((failed + 1))
    return 1
}

skip() {
    tail -n 3 "$folder/log" 2>/dev/null
    echo "SKIPPED: $1"
    skipped=$((skipped + 1))
}

# Runs a command that finds no emulator but the package's: in a folder of its own, without the caller's cargo.
apart() {
    local where=$1
    shift
    (cd "$where" && env PATH="$where/bin:/usr/local/bin:/usr/bin:/bin" PYTHONDONTWRITEBYTECODE=1 "$@")
}

wheel() {
    PATH="$folder/build/bin:$PATH" "$folder/build/bin/python" -m pip wheel --no-deps --no-build-isolation --wheel-dir "$folder/wheels" \
        "$sources/python"
}

python() {
    local place="$folder/python"
    if ! { python3 -m venv "$folder/build" && "$folder/build/bin/python" -m pip install --quiet 'maturin>=1.8,<2'; } >"$folder/log" 2>&1; then
        skip "the wheel for Python, because maturin can't be had here"
        return
    fi
    check "the wheel for Python is built" wheel || return
    if ! { python3 -m venv "$place" &&
        "$place/bin/python" -m pip install --quiet --requirement "$clients/python/requirements.txt"; } >"$folder/log" 2>&1; then
        skip "the tests of the wheel, because the libraries that they use can't be had here"
        return
    fi
    check "the wheel is installed" "$place/bin/python" -m pip install --no-deps "$folder"/wheels/*.whl || return
    cp -r "$sources/python/tests" "$place/tests"
    check "it carries the program" test -x "$place/bin/managed-hsm-emulator"
    # Its plugin for pytest is found as an installed one is.
    check "the wheel's tests pass" apart "$place" "$place/bin/python" -m pytest -p no:cacheprovider -c tests/pytest.ini tests
}

pack() { (cd "$sources/node" && npm pack --pack-destination "$folder"); }

node_package() {
    local place="$folder/node"
    command -v npm >/dev/null || { skip "the package for Node.js, because npm is not installed"; return; }
    check "the package for Node.js is built" pack || return
    mkdir "$place"
    cp "$clients"/javascript/package*.json "$place/"
    if ! npm ci --prefix "$place" --omit=optional --no-audit --no-fund >"$folder/log" 2>&1; then
        skip "the tests of the package for Node.js, because the libraries that they use can't be had here"
        return
    fi
    check "the package for Node.js is installed" \
        npm install --prefix "$place" --no-save --omit=optional --no-audit --no-fund "$folder"/managed-hsm-emulator-*.tgz || return
    cp "$sources/node/tests/package.test.js" "$place/"
    check "it carries the program" test -x "$place/node_modules/managed-hsm-emulator/bin/managed-hsm-emulator"
    check "the tests of the package for Node.js pass" apart "$place" node --test package.test.js
}

require_cargo || exit
[ "$#" -gt 0 ] || set -- python node
for package; do
    case $package in
        python) python ;;
        node) node_package ;;
        *)
            echo "There is no package for '$package': python, node." >&2
            exit 2
            ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
