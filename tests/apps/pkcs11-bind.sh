#!/usr/bin/env bash
# BIND 9.18 by libp11's engine: impossible with OpenSSL 3, whichever module the engine has.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs dnssec-keyfromlabel bind9-utils
needs_engine
case $(dnssec-keyfromlabel -V 2>&1) in
    *" 9.18."*) ;;
    *)
        skip "$(dnssec-keyfromlabel -V 2>&1)" "from 9.20 on it knows no engines; its keys are those of OpenSSL's stores (bind.sh)"
        finish
        ;;
esac
start_token
dnssec-keyfromlabel -V
# It makes the engine the one for all of OpenSSL's operations, and then finds that it can't read numbers of keys any more.
# refused CONF
refused() {
    local before said
    before=$(signatures)
    said=$(OPENSSL_CONF="$1" dnssec-keyfromlabel -E pkcs11 -K "$work" -a RSASHA256 -l "pkcs11:token=hsm;object=rsa" example.test 2>&1) &&
        { echo "it was accepted"; return 1; }
    echo "$said"
    grep -q "could not initialize dst: crypto failure" <<<"$said" && signed "" "$before" 0
}
check "impossible: dnssec-keyfromlabel -E pkcs11 does not start" refused "$work/openssl.cnf"
softhsm=/usr/lib/softhsm/libsofthsm2.so
if [ -e "$softhsm" ]; then
    sed "s|^MODULE_PATH = .*|MODULE_PATH = $softhsm|" "$work/openssl.cnf" >"$work/softhsm.cnf"
    check "the same with SoftHSM" refused "$work/softhsm.cnf"
else
    skip "the same with SoftHSM" "it is not installed (apt-get install softhsm2)"
fi
finish
