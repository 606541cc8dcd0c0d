#!/usr/bin/env bash
# The provider and the PKCS#11 module link neither libcrypto nor libssl nor p11-kit, hold no OpenSSL crate, export their interface
# alone and can be loaded anywhere; they name no folder of the machine that built them, and have the features of their packages
# alone. Run after scripts/release-build.sh akv_provider akv-pkcs11.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/built.sh
require_module
require_pkcs11_module
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

# A file, the package that it is built from, what it may export, and what it has to.
check_module() {
    local file=$1 package=$2 exports=$3 entry=$4 dynamic segments symbols undefined tree
    echo "$package:"
    dynamic=$(readelf --dynamic --wide "$file")
    segments=$(readelf --program-headers --wide "$file")
    symbols=$(nm --dynamic --defined-only "$file" | awk '{ print $NF }')
    undefined=$(nm --dynamic --undefined-only "$file" | awk '{ print $NF }')
    tree=$(cargo tree --package "$package" --edges normal --prefix none --format '{p}')

    check "the module needs neither libcrypto nor libssl nor p11-kit" \
        "$(grep -E 'NEEDED.*lib(crypto|ssl|p11-kit)' <<<"$dynamic" || true)"
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
    check "the module exports nothing but $exports" \
        "$(grep -Evx "$exports" <<<"$symbols" || true)"
    check "the module exports $entry" \
        "$(grep -qx "$entry" <<<"$symbols" || echo 'it is not among the dynamic symbols')"
    check "no library in the module reads the environment but through the module's own function" \
        "$(grep -E '^getenv(@|$)' <<<"$undefined" || true)"
    check "no OpenSSL or native TLS crate is linked" \
        "$(grep -E '^(openssl|openssl-sys|openssl-probe-sys|native-tls) ' <<<"$tree" | sort -u || true)"
    check "the module names no folder of the machine that built it" \
        "$(strings -a "$file" | grep -F -e "$HOME/" -e "${CARGO_HOME:-$HOME/.cargo}/" -e "$PWD/" -e "$target_dir/" | head -n 5 || true)"
    # Of the workspace's programs: with them, cargo would build tokio's drivers of signals, processes and sockets into the module.
    check "the module has the features of its package alone" \
        "$(nm --demangle "$file" | grep -E 'tokio::(runtime::)?(signal|process|net)::|tokio::runtime::io::|signal_hook_registry' | head -n 5 || true)"
}

check_module "$module" akv_provider OSSL_provider_init OSSL_provider_init
check_module "$pkcs11_module" akv-pkcs11 'C_[A-Za-z]+' C_GetInterface
exit "$failed"
