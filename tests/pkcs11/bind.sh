#!/usr/bin/env bash
# BIND 9.20 by pkcs11-provider: zones signed by dnssec-signzone and by named, with keys of the token. It has jemalloc.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/../apps/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/../apps/tokens.sh"

needs dnssec-keyfromlabel bind9-utils
needs named bind9
needs delv bind9-dnsutils
needs_engine
start_token
provider_conf
dnssec-keyfromlabel -V 2>&1
create_key rsa2 '{"kty":"RSA-HSM","key_size":2048}'
create_key ec2 '{"kty":"EC-HSM","crv":"P-256"}'
mkdir "$work/keys"

with_jemalloc() { with_provider env LD_PRELOAD=libjemalloc.so.2 openssl storeutl -noout "$(token_uri rsa)"; }
check "openssl storeutl with jemalloc finds the key" with_jemalloc

# BIND wants both halves of a key, so its URI names no type: from_label ALGORITHM KEY ZONE [OPTION…]
from_label() {
    with_provider dnssec-keyfromlabel -K "$work/keys" -a "$1" -l "pkcs11:token=hsm;object=$2" "${@:4}" "$3"
}
# Keys for both roles, and a zone signed with them: signs_zone ZONE ALGORITHM KSK ZSK
signs_zone() {
    local ksk zsk
    printf '%s\n' "\$ORIGIN $1." "\$TTL 300" '@ SOA ns hostmaster 1 3600 600 86400 300' '@ NS ns' 'ns A 127.0.0.1' \
        'keys TXT "in the HSM"' >"$work/$1"
    from_label "$2" "$3" "$1" -f KSK && from_label "$2" "$4" "$1" || return 1
    ksk=$(signatures "$3") zsk=$(signatures "$4")
    # Without -P pkcs11-provider 1.0 refuses to verify by an RSA key that isn't the token's ("invalid handle"), and asks nobody.
    with_provider dnssec-signzone -P -d "$work" -K "$work/keys" -S -o "$1" -f "$work/$1.done" "$work/$1" && dnssec-verify -o "$1" "$work/$1.done" ||
        return 1
    # The set of keys by one, and each set of records by the other.
    signed "$3" "$ksk" 1 && wait_until 5 has_signatures "$4" "$((zsk + 4))"
}
check "dnssec-keyfromlabel and dnssec-signzone, RSA" signs_zone rsa.test RSASHA256 rsa rsa2
check "dnssec-keyfromlabel and dnssec-signzone, EC" signs_zone ec.test ECDSAP256SHA256 ec ec2

free_port port
cat >"$work/named.conf" <<END_OF_CONF
options {
    directory "$work"; pid-file none; session-keyfile none; recursion no; dnssec-validation no; notify no;
    listen-on-v6 { none; };
    listen-on port $port { 127.0.0.1; };
};
controls {};
dnssec-policy hsm { keys { ksk lifetime unlimited algorithm ecdsap256sha256; zsk lifetime unlimited algorithm ecdsap256sha256; }; };
zone "ec.test" { type primary; file "$work/ec.test"; key-directory "$work/keys"; dnssec-policy hsm; inline-signing yes; };
END_OF_CONF
before=$(signatures ec2)
launch "$work/named.log" named -g -n 2 -c "$work/named.conf"
server=$pid
key=$(sed -n 's/^ec\.test\. .*DNSKEY 257 3 13 //p' "$work"/keys/Kec.test.*.key)
echo "trust-anchors { \"ec.test.\" static-key 257 3 13 \"$key\"; };" >"$work/anchor"
validates() { delv @127.0.0.1 -p "$port" -a "$work/anchor" +root=ec.test "$@" 2>&1; }
validated() { validates keys.ec.test TXT | grep "fully validated"; }
by_named() {
    wait_until 30 validated || { validates keys.ec.test TXT; grep -v automatic "$work/named.log" | tail -n 18; return 1; }
    # Its own keys are no others.
    [ "$(find "$work/keys" -name 'Kec.test.*.private' | wc -l)" -eq 2 ] || { ls "$work/keys"; return 1; }
    wait_until 5 has_signatures ec2 "$((before + 4))"
}
check "named signs a zone, and delv validates it" by_named
check "stops" end_process "$server"
finish
