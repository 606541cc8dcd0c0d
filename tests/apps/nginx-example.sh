#!/usr/bin/env bash
# nginx-example from set-up to clean-up, as a new user runs it, at other ports.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs nginx nginx-light
if [ -f nginx-example/.env ] && (. nginx-example/.env && [ -n "$HSM_NAME" ]); then
    skip "run-all.sh" "nginx-example/.env names an HSM, which is nothing to try with"
    finish
fi
work=$(mktemp -d)
export RUN_DIR=$work/run
for name in RSA_PORT EC_PORT BOTH_PORT; do
    free_port "$name"
    export "${name?}"
done
run_all() {
    nginx-example/run-all.sh >"$work/run-all.log" 2>&1 || { grep -v '^ok' "$work/run-all.log"; return 1; }
    echo "figures: $(grep ' passed, ' "$work/run-all.log")"
    grep -q ' 0 failed, 0 skipped$' "$work/run-all.log" && [ ! -e "$RUN_DIR" ]
}
check "run-all.sh" run_all
finish
