#!/usr/bin/env bash
# The provider links neither libcrypto nor libssl, holds no OpenSSL crate, exports one symbol and can be loaded
# anywhere; it names no folder of the machine that built it, and has the features of its package alone. Run after scripts/release-build.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/built.sh
require_module
failed=0

check() {
    local what=$1 found=$2
    if [ -n "$found" ]; then
        printf 'FAILED: %s, but:\n%s\n' "$what" "$found" >&2
        failed=1
    else
        echo "ok: $what"
    fi
}

dynamic=$(readelf --dynamic --wide "$module")
segments=$(readelf --program-headers --wide "$module")
symbols=$(nm --dynamic --defined-only "$module" | awk '{ print $NF }')
undefined=$(nm --dynamic --undefined-only "$module" | awk '{ print $NF }')
tree=$(cargo tree --package akv_provider --edges normal --prefix none --format '{p}')

check "the module needs neither libcrypto nor libssl" "$(grep -E 'NEEDED.*lib(crypto|ssl)' <<<"$dynamic" || true)"
check "the module has no text relocations" "$(grep -w TEXTREL <<<"$dynamic" || true)"
check "the module has no search path of its own" "$(grep -E '\((RPATH|RUNPATH)\)' <<<"$dynamic" || true)"
check "the module binds its symbols at load time" \
    "$(grep -Eq 'BIND_NOW|FLAGS.*NOW' <<<"$dynamic" || echo 'the flag NOW is absent')"
check "the module's tables of addresses are read-only (full RELRO)" \
    "$(grep -q GNU_RELRO <<<"$segments" || echo 'there is no segment GNU_RELRO')"
check "the module has no executable stack" \
    "$(grep -E 'GNU_STACK.* RW +0' <<<"$segments" >/dev/null || echo 'GNU_STACK is absent or executable')"
check "no memory of the module is writable and executable" "$(grep -E '^ *LOAD.* RWE +0x' <<<"$segments" || true)"
check "the module stays mapped while its thread runs" \
    "$(grep -q NODELETE <<<"$dynamic" || echo 'the flag NODELETE is absent')"
check "the module exports nothing but OSSL_provider_init" \
    "$(grep -vx OSSL_provider_init <<<"$symbols" || true)"
check "the module exports OSSL_provider_init" \
    "$(grep -qx OSSL_provider_init <<<"$symbols" || echo 'it is not among the dynamic symbols')"
check "no library in the module reads the environment but through the module's own function" \
    "$(grep -E '^getenv(@|$)' <<<"$undefined" || true)"
check "no OpenSSL or native TLS crate is linked" \
    "$(grep -E '^(openssl|openssl-sys|openssl-probe-sys|native-tls) ' <<<"$tree" | sort -u || true)"
check "the module names no folder of the machine that built it" \
    "$(strings -a "$module" | grep -F -e "$HOME/" -e "${CARGO_HOME:-$HOME/.cargo}/" -e "$PWD/" -e "$target_dir/" | head -n 5 || true)"
# Of the workspace's programs: with them, cargo would build tokio's drivers of signals, processes and sockets into the module.
check "the module has the features of its package alone" \
    "$(nm --demangle "$module" | grep -E 'tokio::(runtime::)?(signal|process|net)::|tokio::runtime::io::|signal_hook_registry' | head -n 5 || true)"
exit "$failed"
