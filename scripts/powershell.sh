#!/usr/bin/env bash
# Checks the examples' scripts for PowerShell: each script for the shell has its twin, each parses, by the grammar of tree-sitter from
# PyPI, and fills in each name of the templates. Where PowerShell itself is installed, it parses them as well, and runs nginx-example
# with an emulator; else that is skipped, loudly.
#
# Ends with "N passed, N failed, N skipped"; with 77, and the reason, where no grammar is available.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/built.sh
. scripts/pypi.sh
. scripts/checks.sh

skipped=0
place=$target_dir/powershell
if ! install_from_pypi 'tree-sitter-powershell[core]' 0.26.4 "$place"; then
    echo "SKIPPED: the grammar can't be installed here (pip install tree-sitter-powershell)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

parses() { "$place/bin/python" scripts/powershell_syntax.py "$@"; }
notices() {
    sed 's/) {$/ {/' nginx-example/hsm.ps1 >"$work/wrong.ps1"
    ! parses "$work/wrong.ps1" >/dev/null
}
# compose/ is for containers, where the shell is.
has_twins() {
    local script missing=0
    for script in nginx-example/*.sh grpc-example/*.sh; do
        if [ ! -f "${script%.sh}.ps1" ]; then
            echo "${script%.sh}.ps1 is missing"
            missing=1
        fi
    done
    return "$missing"
}
# Each name of the templates of a folder is one that its scripts give.
fills_in() {
    local name missing=0
    for name in $(grep -ohE '@[a-z_]+@' "$1"/*.in | tr -d @ | sort -u); do
        if ! grep -qE "(^|[ ;{])$name = " "$1"/*.ps1; then
            echo "no script of $1 gives @$name@"
            missing=1
        fi
    done
    return "$missing"
}
# PowerShell's own parser, which prints what is wrong.
parses_itself() {
    # shellcheck disable=SC2016 # PowerShell expands it
    pwsh -NoProfile -NonInteractive -Command '
        $count = 0
        foreach ($file in Get-ChildItem nginx-example/*.ps1, grpc-example/*.ps1) {
            $errors = $null
            [Management.Automation.Language.Parser]::ParseFile($file.FullName, [ref] $null, [ref] $errors) | Out-Null
            $errors | ForEach-Object { Write-Output "$($file.Name): $_"; $count++ }
        }
        exit [Math]::Min($count, 1)'
}
runs() {
    RUN_DIR=$work/run "$profile_dir/managed-hsm-emulator" run -- pwsh -NoProfile -NonInteractive -File nginx-example/run-all.ps1
}

check "each script has its twin" has_twins
check "all of them parse" parses nginx-example/*.ps1 grpc-example/*.ps1
check "a wrong one is noticed" notices
for example in nginx-example grpc-example; do
    check "$example: names of the templates" fills_in "$example"
done
if ! command -v pwsh >/dev/null; then
    echo "SKIPPED  PowerShell's own parser, and nginx-example by PowerShell: pwsh is not installed"
    skipped=$((skipped + 2))
elif check "PowerShell's own parser" parses_itself && [ -f nginx-example/.env ]; then
    echo "SKIPPED  nginx-example by PowerShell: nginx-example/.env may name an HSM, which is nothing to try with"
    skipped=$((skipped + 1))
else
    require_module
    require_programs akv managed-hsm-emulator
    check "nginx-example by PowerShell" runs
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
