#!/usr/bin/env bash
# BIND 9.20 by pkcs11-provider: impossible, as it has jemalloc, with which that provider crashes, whichever module it has.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/../apps/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/../apps/tokens.sh"

needs dnssec-keyfromlabel bind9-utils
needs_engine
start_token
provider_conf
dnssec-keyfromlabel -V 2>&1
if ! ldd "$(command -v dnssec-keyfromlabel)" | grep -q jemalloc; then
    skip "BIND" "it has no jemalloc here, and nothing tries it yet"
    finish
fi
uri=$(token_uri rsa)
# crashes COMMAND…: by a signal
crashes() {
    local status=0
    with_provider "$@" >"$work/out" 2>&1 || status=$?
    cat "$work/out"
    [ "$status" -gt 128 ] || { echo "status $status"; return 1; }
}
loads() { with_provider openssl storeutl -noout "$uri"; }
check "openssl storeutl finds the key" loads
check "the same with jemalloc crashes" crashes env LD_PRELOAD=libjemalloc.so.2 openssl storeutl -noout "$uri"
check "impossible: dnssec-keyfromlabel crashes" crashes dnssec-keyfromlabel -K "$work" -a RSASHA256 -l "$uri" example.test
finish
