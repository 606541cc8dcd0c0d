#!/usr/bin/env bash
# Knot DNS signs zones with keys of the token, by GnuTLS: keys that it makes there, and one that is there already.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs knotd knot
needs keymgr knot
needs dig bind9-dnsutils
needs dnssec-verify bind9-utils
needs_engine
start_token
knotd --version
token_certificate ec ec
free_port port
mkdir -p "$work/knot/zones" "$work/knot/db" "$work/knot/run"
zones=(ecdsap256sha256 rsasha256 brought)
for zone in "${zones[@]}"; do
    printf '%s\n' "\$ORIGIN $zone.test." "\$TTL 300" '@ SOA ns hostmaster 1 3600 600 86400 300' '@ NS ns' 'ns A 127.0.0.1' \
        'www A 127.0.0.2' >"$work/knot/zones/$zone.test.zone"
done
# section NAME LINE…: its first line begins an entry.
section() {
    printf '%s:\n  - %s\n' "$1" "$2"
    [ "$#" -eq 2 ] || printf '    %s\n' "${@:3}"
}
{
    printf '%s\n' server: "    listen: 127.0.0.1@$port" "    rundir: $work/knot/run" "    user: $(id -un)" \
        database: "    storage: $work/knot/db"
    section log "target: stderr" "any: info"
    # It makes keys only where it may log in: any PIN does.
    section keystore "id: hsm" "backend: pkcs11" "config: \"pkcs11:token=hsm;pin-value=x $token_module\"" "key-label: on"
    section policy "id: ecdsap256sha256" "keystore: hsm" "algorithm: ecdsap256sha256"
    section policy "id: rsasha256" "keystore: hsm" "algorithm: rsasha256" "ksk-size: 2048" "zsk-size: 2048"
    section policy "id: brought" "keystore: hsm" "manual: on" "single-type-signing: on"
    section acl "id: transfer" "address: 127.0.0.1" "action: transfer"
    section template "id: default" "storage: $work/knot/zones" "dnssec-signing: on" "acl: transfer" "zonefile-sync: -1" \
        "zonefile-load: difference" "journal-content: all"
    for zone in "${zones[@]}"; do
        section zone "domain: $zone.test" "file: $zone.test.zone" "dnssec-policy: $zone"
    done
} >"$work/knot.conf"

# The id of a key is that of its certificate's subject.
id=$(openssl x509 -in "$work/ec.crt" -noout -ext subjectKeyIdentifier | tail -n 1 | tr -d ' :')
brings() { keymgr -c "$work/knot.conf" brought.test import-pkcs11 "${id,,}" algorithm=ecdsap256sha256 ksk=yes zsk=yes; }
check "keymgr takes a key that is there" brings

all="[-a-z0-9]*"
# Two for each zone of which it isn't told a key.
expects_keys 4
before=$(signatures "$all")
launch "$work/knotd.log" knotd -c "$work/knot.conf"
is_signed() { dig +short +dnssec "@127.0.0.1" -p "$port" "www.$1.test" A | grep -q '^A [0-9]* '; }
# Its signatures are checked, and counted: verifies ZONE
verifies() {
    local options=()
    # One key does for all there.
    [ "$1" != brought ] || options=(-z)
    wait_until 30 is_signed "$1" || { tail "$work/knotd.log"; return 1; }
    dig "@127.0.0.1" -p "$port" +onesoa "$1.test" AXFR >"$work/$1.zone" && dnssec-verify "${options[@]}" -o "$1.test" "$work/$1.zone" || return 1
    made=$((made + $(awk '$4 == "RRSIG"' "$work/$1.zone" | wc -l)))
}
made=0
for zone in "${zones[@]}"; do
    check "a zone is signed: $zone" verifies "$zone"
done
# It signs a zone's first record twice.
all_are_of_the_hsm() { [ "$made" -gt 0 ] && signed "$all" "$before" "$((made + ${#zones[@]}))"; }
check "each signature ($made) was the HSM's" all_are_of_the_hsm
# A new key for the zone's records, and all signatures anew, by an HSM that has just restarted.
serial() { dig +short "@127.0.0.1" -p "$port" "$1.test" SOA | cut -d' ' -f3; }
serial_is_new() { [ "$(serial "$1")" -gt "$old" ]; }
resigns() {
    old=$(serial "$1")
    restart_hsm && knotc -c "$work/knot.conf" -b zone-sign "$1.test" && wait_until 20 serial_is_new "$1" && verifies "$1"
}
for zone in "${zones[@]}"; do
    check "signed anew after the HSM has restarted: $zone" resigns "$zone"
done
rolls() {
    old=$(serial "$1")
    expects_keys 1
    knotc -c "$work/knot.conf" zone-key-rollover "$1.test" zsk && wait_until 20 serial_is_new "$1" && verifies "$1" &&
        [ "$(keymgr -c "$work/knot.conf" "$1.test" list | grep -c ' ZSK ')" -eq 2 ]
}
check "a new key: ecdsap256sha256" rolls ecdsap256sha256
check "stops" end_process "$pid"
finish
