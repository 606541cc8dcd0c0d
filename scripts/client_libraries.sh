# shellcheck shell=bash disable=SC2034,SC2154
# Other people's clients, for a script that tries them with the emulator, and the count of what passed. Sourced after emulator.sh and
# built.sh, not run.
#
#   emulator, tests, work    the emulator's program, the folder of the clients' tests, and the one where libraries stay
#   folder                   a temporary folder, which the script removes
#   passed, failed, skipped  the count
#   skip WHAT                counts what can't be tried here
#   python_libraries TITLE REQUIREMENTS   installs what a file of tests/python names, in $place; where that can't be had, skips and fails
#   npm_packages TITLE FOLDER             the same with the lock file in a folder of tests
#   principals_file          prints the path of a file with a principal without roles, who is exported as TEST_USER_CLIENT_ID,
#                            TEST_USER_OBJECT_ID and TEST_USER_SECRET

require_programs managed-hsm-emulator || exit
emulator="$profile_dir/managed-hsm-emulator"
tests="$PWD/crates/managed-hsm-emulator/tests/clients"
work="$target_dir/clients"
passed=0 failed=0 skipped=0
mkdir -p "$work"
folder=$(mktemp -d)

export TEST_USER_CLIENT_ID=33333333-0000-0000-0000-000000000001
export TEST_USER_OBJECT_ID=33333333-0000-0000-0000-000000000002
export TEST_USER_SECRET=a-secret-for-tests

principals_file() {
    cat >"$folder/principals.json" <<JSON
[{"client_id": "$TEST_USER_CLIENT_ID", "object_id": "$TEST_USER_OBJECT_ID", "client_secret": "$TEST_USER_SECRET"}]
JSON
    echo "$folder/principals.json"
}

skip() {
    echo "SKIPPED: $1"
    skipped=$((skipped + 1))
}

python_libraries() {
    local title=$1 requirements="$tests/python/$2" log="$folder/install.log"
    place="$work/${2%.txt}"
    command -v python3 >/dev/null || { skip "$title, because python3 is not installed"; return 1; }
    ! cmp -s "$requirements" "$place/installed" || return 0
    rm -rf "$place"
    if ! python3 -m venv "$place" >"$log" 2>&1 ||
        ! "$place/bin/python" -m pip install --quiet --requirement "$requirements" >>"$log" 2>&1; then
        tail -n 5 "$log"
        skip "$title, because they can't be installed here"
        return 1
    fi
    cp "$requirements" "$place/installed"
}

npm_packages() {
    local title=$1 source="$tests/$2" log="$folder/install.log"
    place="$work/$2"
    command -v npm >/dev/null || { skip "$title, because npm is not installed"; return 1; }
    mkdir -p "$place"
    cp "$source"/package*.json "$place/"
    ! cmp -s "$place/package-lock.json" "$place/installed" || return 0
    if ! npm ci --prefix "$place" --omit=optional --no-audit --no-fund >"$log" 2>&1; then
        tail -n 5 "$log"
        skip "$title, because they can't be installed here"
        return 1
    fi
    cp "$place/package-lock.json" "$place/installed"
}
