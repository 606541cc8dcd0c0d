#!/usr/bin/env bash
# The compiler, as cargo calls it (RUSTC_WRAPPER), with the options in INSTRUMENTATION for the packages below INSTRUMENTED_ROOT.
# Their dependencies are built as ever: that takes a quarter of the time, and the code that isn't safe is in these packages.
set -euo pipefail
if [[ ${CARGO_MANIFEST_DIR:-} == "$INSTRUMENTED_ROOT"/* && " $* " != *" --crate-name build_script_"* ]]; then
    # Scripts that are run while something is built see no such variable: they'd take the toolchain for another one.
    read -ra options <<<"$INSTRUMENTATION"
    RUSTC_BOOTSTRAP=1 exec "$@" "${options[@]}"
fi
exec "$@"
