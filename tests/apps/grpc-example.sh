#!/usr/bin/env bash
# grpc-example from certificates to clean-up, as a new user runs it, at other ports.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs nginx nginx-light
needs cargo "cargo, or https://rustup.rs"
if [ -f grpc-example/.env ] && (. grpc-example/.env && [ -n "$HSM_NAME" ]); then
    skip "run-all.sh" "grpc-example/.env names an HSM, which is nothing to try with"
    finish
fi
work=$(mktemp -d)
# shellcheck disable=SC2031 # the harness set it here, and not in a subshell
export RUN_DIR=$work/run GRPC_TARGET_DIR=${target%/*}/grpc-example
for name in TLS_PORT DIRECT_PORT; do
    free_port "$name"
    export "${name?}"
done
run_all() {
    grpc-example/run-all.sh >"$work/run-all.log" 2>&1 || { tail -n 20 "$work/run-all.log"; return 1; }
    echo "figures: $(grep ' passed, ' "$work/run-all.log")"
    grep -q ' 0 failed, ' "$work/run-all.log" && [ ! -e "$RUN_DIR" ]
}
check "run-all.sh" run_all
if grep -q '^SKIPPED' "$work/run-all.log"; then
    skip "Python" "$(sed -n 's/^SKIPPED  //p' "$work/run-all.log" | head -n 1)"
fi
finish
