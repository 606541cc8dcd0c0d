# shellcheck shell=bash
# Counts what is tried. Sourced, not run.
#
#   check WHAT COMMAND…    says whether a command succeeds, and counts it in $passed or $failed

passed=0 failed=0

check() {
    local what=$1
    shift
    if "$@"; then
        echo "ok      $what"
        passed=$((passed + 1))
    else
        echo "FAILED  $what"
        failed=$((failed + 1))
    fi
}
