#!/usr/bin/env bash
# Microsoft's own libraries, from their registries, against the emulator: Rust, Python (also the pre-releases, with the service's
# previews) and JavaScript; and the emulator's packages for Python and Node.js. Run after `cargo build --workspace`. What can't be had
# here is skipped, with the reason.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/emulator.sh
. scripts/built.sh
. scripts/client_libraries.sh

# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    stop_emulator
    rm -rf "$folder"
}
trap clean_up EXIT

serve_emulator "$emulator" "$folder" --principals "$(principals_file)" --control-port 0 --vault rustvault || exit
EMULATOR_CONTROL=$(sed -n 's/^control: //p' "$folder/emulator.out")
export EMULATOR_CONTROL

# Runs a command with the emulator's environment. Downloads go without it: they need the system's CAs.
with_emulator() {
    (
        eval "$emulator_identity"
        "$@"
    )
}

rust_client() {
    local log="$folder/rust.log" place="$work/rust"
    local manifest="$tests/rust/Cargo.toml"
    # Only what can't be downloaded is skipped: what doesn't compile is a failure.
    if ! cargo fetch --quiet --locked --manifest-path "$manifest" >"$log" 2>&1; then
        tail -n 5 "$log"
        skip "Rust crates, because they can't be had here"
        return
    fi
    local -x CARGO_TARGET_DIR="$place"
    if ! cargo test --quiet --locked --no-run --manifest-path "$manifest" >"$log" 2>&1; then
        cat "$log"
        failed=$((failed + 1))
        echo "Rust crates: the tests do not compile"
        return
    fi
    with_emulator cargo test --locked --offline --manifest-path "$manifest" </dev/null >"$log" 2>&1
    local status=$? good
    good=$(sed -n 's/^test result: .* \([0-9]*\) passed;.*/\1/p' "$log")
    passed=$((passed + ${good:-0}))
    if [ "$status" -ne 0 ]; then
        cat "$log"
        failed=$((failed + 1))
    fi
    echo "Rust crates: ${good:-0} tests passed"
}

# What the libraries are called, and the file of their versions.
python_client() {
    local title=$1 log="$folder/python.log"
    python_libraries "$title" "$2" || return
    with_emulator "$place/bin/python" -W ignore "$tests/python/test_emulator.py" --verbose </dev/null >"$log" 2>&1
    local status=$? good
    good=$(sed -n 's/^Ran \([0-9]*\) tests.*/\1/p' "$log")
    good=${good:-0}
    if [ "$status" -ne 0 ]; then
        cat "$log"
        failed=$((failed + 1))
        good=0
    fi
    passed=$((passed + good))
    echo "$title: $good tests passed"
}

javascript_client() {
    local log="$folder/javascript.log"
    npm_packages "JavaScript libraries" javascript || return
    cp "$tests"/javascript/*.js "$place/"
    with_emulator npm test --prefix "$place" </dev/null >"$log" 2>&1
    local status=$? good
    good=$(sed -n 's/^[^0-9]*pass \([0-9]*\)$/\1/p' "$log")
    passed=$((passed + ${good:-0}))
    if [ "$status" -ne 0 ]; then
        cat "$log"
        failed=$((failed + 1))
    fi
    echo "JavaScript libraries: ${good:-0} tests passed"
}

# The packages have the program that was built in the place of the one that they are packed with.
packages="$PWD/crates/managed-hsm-emulator/packages"

python_package() {
    local log="$folder/python-package.log" place="$work/requirements" good
    [ -e "$place/installed" ] || { skip "Python package, because the libraries are not installed"; return; }
    PATH="$(realpath "$profile_dir"):$PATH" PYTHONPATH="$packages/python/src" PYTHONDONTWRITEBYTECODE=1 "$place/bin/python" -m pytest \
        -p no:cacheprovider -p managed_hsm_emulator.pytest_plugin -c "$packages/python/tests/pytest.ini" \
        "$packages/python/tests" </dev/null >"$log" 2>&1
    local status=$?
    good=$(sed -n 's/^[= ]*\([0-9]*\) passed.*/\1/p' "$log")
    report_package "Python package" "$status" "${good:-0}" "$log"
}

javascript_package() {
    local log="$folder/javascript-package.log" place="$work/javascript" package good
    [ -e "$place/installed" ] || { skip "Node.js package, because the libraries are not installed"; return; }
    package="$place/node_modules/managed-hsm-emulator"
    rm -rf "$package"
    mkdir -p "$package/bin" "$place/node_modules/.bin"
    cp "$packages"/node/*.js* "$package/"
    cp "$emulator" "$package/bin/"
    ln -sf ../managed-hsm-emulator/cli.js "$place/node_modules/.bin/managed-hsm-emulator"
    chmod +x "$package/cli.js"
    cp "$packages/node/tests/package.test.js" "$place/"
    (cd "$place" && node --test package.test.js) </dev/null >"$log" 2>&1
    local status=$?
    good=$(sed -n 's/^[^0-9]*pass \([0-9]*\)$/\1/p' "$log")
    report_package "Node.js package" "$status" "${good:-0}" "$log"
}

report_package() {
    local title=$1 status=$2 good=$3 log=$4
    if [ "$status" -ne 0 ]; then
        cat "$log"
        failed=$((failed + 1))
    fi
    passed=$((passed + good))
    echo "$title: $good tests passed"
}

rust_client
python_client "Python libraries" requirements.txt
python_client "Python libraries, pre-releases" requirements-preview.txt
javascript_client
python_package
javascript_package
echo "clients: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
