#!/usr/bin/env bash
# libreswan with keys and certificates of the token, by NSS: two plutos, each in a network of its own. What is tried is IKE; whether
# the kernel has ESP doesn't matter.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"
# shellcheck source=tests/apps/networks.sh
. "$(dirname "$0")/networks.sh"

needs certutil libnss3-tools
needs modutil libnss3-tools
needs_networks
# It can't be installed beside strongSwan, so its package is unpacked.
libreswan=$(cd "${target%/*}" && pwd)/libreswan
programs=$libreswan/usr/libexec/ipsec
if [ ! -x "$programs/pluto" ]; then
    rm -rf "$libreswan"
    mkdir -p "$libreswan"
    if ! (cd "$libreswan" && apt-get download -qq libreswan && dpkg-deb -x libreswan_*.deb . && rm libreswan_*.deb) >/dev/null 2>&1; then
        skip libreswan "its package can't be had here (apt-get download libreswan)"
        finish
    fi
fi
lacking=$(ldd "$programs/pluto" "$programs/whack" "$programs/addconn" | sed -n 's/ => not found//p' | sort -u)
if [ -n "$lacking" ]; then
    skip libreswan "it lacks $(echo "$lacking" | tr -d '\t' | tr '\n' ' ')(apt-get install libldns3 libevent-pthreads-2.1-7)"
    finish
fi
needs_engine
start_token
"$programs/pluto" --version | cut -d' ' -f1,2
for key in server-rsa server-ec visitor-rsa visitor-ec; do
    kind='{"kty":"EC-HSM","crv":"P-256"}'
    [ "${key#*-}" = ec ] || kind='{"kty":"RSA-HSM","key_size":2048}'
    create_key "$key" "$kind" || broken "No key could be made."
    token_certificate "$key" "$key" "/CN=$key" "subjectAltName=DNS:$key"
done

networks server visitor
for name in server visitor; do
    inside "$name" mount --bind "$libreswan/usr/libexec" /usr/libexec || broken "pluto can't be put where it looks for its programs."
done

# An end with an NSS database that knows the module and the CA: starts NAME OTHER
starts() {
    local folder=$work/$1 kind
    mkdir -p "$folder/nss" "$folder/run"
    certutil -N -d "sql:$folder/nss" --empty-password
    modutil -force -dbdir "sql:$folder/nss" -add akv -libfile "$token_module" >/dev/null || return 1
    openssl x509 -in "$work/ca.crt" -out "$folder/ca.pem"
    # Where the token would keep the trust it is refused, and the database keeps it.
    certutil -A -d "sql:$folder/nss" -n ca -t CT,C,C -i "$folder/ca.pem" || return 1
    : >"$folder/ipsec.secrets"
    {
        printf '%s\n' "config setup" "    nssdir=$folder/nss" "    ipsecdir=$folder" "    secretsfile=$folder/ipsec.secrets"
        for kind in rsa ec; do
            printf '%s\n' "conn $kind" "    ikev2=insist" "    auto=add" "    left=$(address_of "$1")" "    leftcert=hsm:$1-$kind" \
                "    leftid=%fromcert" "    leftsendcert=always" "    right=$(address_of "$2")" "    rightid=CN=$2-$kind" \
                "    authby=$([ "$kind" = rsa ] && echo rsa-sha2 || echo ecdsa-sha2)"
        done
    } >"$folder/ipsec.conf"
    launch "$folder/log" "${inside[@]}" "${network[$1]}" /usr/libexec/ipsec/pluto --config "$folder/ipsec.conf" --nofork \
        --rundir "$folder/run" --stderrlog
    has_both() { [ "$(grep -c 'added IKEv2 connection' "$folder/log")" -eq 2 ]; }
    wait_until 20 has_both || { tail -n 30 "$folder/log"; return 1; }
    grep "loaded private key matching left certificate 'hsm:$1-" "$folder/log"
}
check "a server starts" starts server visitor
check "a visitor starts" starts visitor server

whack() { timeout 30 "${inside[@]}" "${network[$1]}" /usr/libexec/ipsec/whack --ctlsocket "$work/$1/run/pluto.ctl" "${@:2}"; }
established() {
    grep -c "\"$1\".* initiator established IKE SA; authenticated peer '.*$2.*'CN=server-$1'" "$work/visitor/log"
}
has_established() { [ "$(established "$1" "$2")" -ge "$3" ]; }
# Each end signs once, and knows the other: connects KIND ALGORITHM.
connects() {
    local server visitor before folder=$work/visitor
    server=$(signatures "server-$1") visitor=$(signatures "visitor-$1")
    before=$(established "$1" "$2")
    whack visitor --name "$1" --initiate
    wait_until 10 has_established "$1" "$2" "$((before + 1))" || { tail -n 20 "$folder/log" "$work/server/log"; return 1; }
    whack visitor --name "$1" --terminate
    signed "server-$1" "$server" 1 && signed "visitor-$1" "$visitor" 1
}
check "IKEv2, RSA" connects rsa RSASSA-PSS
check "IKEv2, EC" connects ec ECDSA
again() { restart_hsm && connects rsa RSASSA-PSS; }
check "IKEv2, RSA, after the HSM has restarted" again
for name in server visitor; do
    check "the $name ends" whack "$name" --shutdown
done
finish
