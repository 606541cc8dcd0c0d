#!/usr/bin/env bash
# BIND: DNS over TLS, and from 9.20 on DNSSEC: zones signed with keys in the HSM, by dnssec-signzone and by named.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs named bind9
needs dig bind9-dnsutils
needs dnssec-keyfromlabel bind9-utils
key_file_options=(--uri-only)
start_hsm
named -v
free_port port
cat >"$work/zone" <<END
@ 60 IN SOA ns root 1 3600 600 86400 60
@ 60 IN NS ns
ns 60 IN A 127.0.0.1
keys 60 IN TXT "in the HSM"
END
chmod 777 "$work"
cat >"$work/named.conf" <<END
options {
    directory "$work";
    pid-file none;
    session-keyfile none;
    managed-keys-directory "$work";
    recursion no;
    dnssec-validation no;
    listen-on port $port tls rsa { 127.0.0.1; };
    listen-on-v6 { none; };
};
controls { };
tls rsa { cert-file "$work/rsa.crt"; key-file "$work/rsa.key"; };
zone "test" { type primary; file "$work/zone"; };
END
# Up to 9.18 the only way to a key by its label is an engine; from 9.20 on a label is a URI for OpenSSL's stores.
from_label() { with_provider dnssec-keyfromlabel -K "$work/keys" -a "$1" -l "managedhsm:MyHSM:$2" "${@:3}"; }
mkdir -m 777 "$work/keys"
dnssec=yes
case $(named -v) in
    *" 9.18."*)
        dnssec=
        no_engine() {
            local before said
            before=$(loads rsa)
            said=$(from_label RSASHA256 rsa example.test 2>&1) && { echo "it was accepted"; return 1; }
            echo "$said"
            grep -q "no engine" <<<"$said" && [ "$(loads rsa)" -eq "$before" ]
        }
        check "DNSSEC: impossible, dnssec-keyfromlabel knows engines only" no_engine
        ;;
esac
if [ -n "$dnssec" ]; then
    # A key for the zone's keys and one for the rest; all of the zone by one program run.
    two_keys() { from_label RSASHA256 rsa -f KSK example.test && from_label RSASHA256 rsa2 example.test; }
    create_key rsa2 '{"kty":"RSA-HSM","key_size":2048}'
    check "DNSSEC: dnssec-keyfromlabel makes the files of two RSA keys" two_keys
    sign_zone() {
        local ksk zsk
        ksk=$(signatures rsa) zsk=$(signatures rsa2)
        with_provider dnssec-signzone -S -d "$work" -K "$work/keys" -o example.test -f "$work/example.signed" "$work/zone" || return 1
        dnssec-verify -o example.test "$work/example.signed" || return 1
        # The set of keys by one, and each set of records by the other: SOA, NS, two names, and what proves that there are no others.
        signed rsa "$ksk" 1 && wait_until 5 has_signatures rsa2 "$((zsk + 4))" || return 1
        echo "figures: $(($(signatures rsa2) - zsk + 1)) signatures"
    }
    check "DNSSEC: dnssec-signzone, verified by dnssec-verify" sign_zone
    free_port plain_port
    create_key ec2 '{"kty":"EC-HSM","crv":"P-256"}'
    two_ec_keys() { from_label ECDSAP256SHA256 ec -f KSK signed && from_label ECDSAP256SHA256 ec2 signed; }
    check "DNSSEC: dnssec-keyfromlabel makes the files of two EC keys" two_ec_keys
    chmod a+rw "$work"/keys/*
    # named signs by itself.
    cat >>"$work/named.conf" <<END
dnssec-policy hsm { keys { ksk lifetime unlimited algorithm ecdsap256sha256; zsk lifetime unlimited algorithm ecdsap256sha256; }; };
zone "signed" { type primary; file "$work/signed-zone"; key-directory "$work/keys"; dnssec-policy hsm; inline-signing yes; };
END
    cp "$work/zone" "$work/signed-zone"
    sed -i "s/^    listen-on port .*/&\n    listen-on port $plain_port { 127.0.0.1; };/" "$work/named.conf"
    before_named=$(signatures)
fi
user=()
[ "$(id -u)" -ne 0 ] || user=(-u bind)
launch "$work/named.log" named -g -n 2 "${user[@]}" -c "$work/named.conf"
server=$pid
ask() { dig +time=30 +tries=1 +short +tls +tls-ca="$work/ca.crt" +tls-hostname=localhost -p "$port" @127.0.0.1 keys.test TXT; }
asks() { [ "$(ask)" = '"in the HSM"' ]; }
check "starts" eval "wait_until 30 asks || { ask; tail '$work/named.log'; false; }"
handshakes "DNS over TLS" "$port" rsa
if [ -n "$dnssec" ]; then
    # With the zone's key as the one that is trusted.
    key=$(sed -n 's/^signed\. .*DNSKEY 257 3 13 //p' "$work"/keys/Ksigned.*.key)
    echo "trust-anchors { \"signed.\" static-key 257 3 13 \"$key\"; };" >"$work/anchor"
    validates() { delv @127.0.0.1 -p "$plain_port" -a "$work/anchor" +root=signed "$@" 2>&1; }
    validated() { validates keys.signed TXT | grep "fully validated"; }
    by_named() {
        wait_until 30 validated || { validates keys.signed TXT; tail "$work/named.log"; return 1; }
        # Its own keys are no others.
        [ "$(find "$work/keys" -name 'Ksigned.*.private' | wc -l)" -eq 2 ] || { ls "$work/keys"; return 1; }
        [ "$(signatures ec2)" -ge 4 ] || return 1
        echo "figures: $(($(signatures) - before_named)) signatures"
    }
    check "DNSSEC: named signs a zone, and delv validates it" by_named
    absent() { validates missing.signed TXT | grep "negative response, fully validated"; }
    check "DNSSEC: the answer that there is no such name validates" absent
    forged() {
        key=$(sed -n 's/^signed\. .*DNSKEY 256 3 13 //p' "$work"/keys/Ksigned.*.key)
        echo "trust-anchors { \"signed.\" static-key 257 3 13 \"$key\"; };" >"$work/anchor"
        ! validated
    }
    check "DNSSEC: with another key trusted nothing does" forged
fi
reloads() {
    local i before good=yes
    begin_load asks
    for i in 1 2 3; do
        more_load 10 || good=no
        before=$(loads rsa)
        kill -HUP "$server"
        wait_until 30 eval "[ \$(loads rsa) -gt $before ]" || { echo "the key was not loaded again"; good=no; }
    done
    more_load 10 || good=no
    end_load 1 && [ "$good" = yes ]
}
check "reloads under load" reloads
check "the HSM restarts under load" hsm_restarts asks
check "stops" end_process "$server"
finish
