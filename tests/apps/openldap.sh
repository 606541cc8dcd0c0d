#!/usr/bin/env bash
# OpenLDAP: the keys of its server, and the certificate of a client.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs slapd slapd
needs ldapsearch ldap-utils
start_hsm
slapd -VV 2>&1 | sed -n 's/^.*OpenLDAP: slapd \([^ ]*\).*/OpenLDAP \1/p'
if ! ldd "$(command -v slapd)" | grep -q libssl; then
    skip "OpenLDAP" "this one is linked with GnuTLS, which knows no OpenSSL providers; Debian 13's is linked with OpenSSL"
    finish
fi

mkdir "$work/directory"
[ "$(id -u)" -ne 0 ] || chown openldap "$work/directory"
# start KEY PORT VERIFY
start() {
    cat >"$work/slapd-$1.conf" <<CONF
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile $work/$1.crt
TLSCertificateKeyFile $work/$1.key
TLSCACertificateFile $work/ca.crt
TLSVerifyClient $3
database mdb
suffix dc=test
directory $work/directory
CONF
    local as=()
    [ "$(id -u)" -ne 0 ] || as=(-u openldap -g openldap)
    launch "$work/slapd-$1.log" slapd -d stats -f "$work/slapd-$1.conf" -h "ldaps://127.0.0.1:$2" "${as[@]}"
    wait_until 20 port_is_open "$2" || { cat "$work/slapd-$1.log"; return 1; }
}
free_port rsa_port
check "rsa: starts" start rsa "$rsa_port" never
server=$pid
handshakes "server" "$rsa_port" rsa
anonymous() {
    local before
    before=$(signatures rsa)
    [ "$(LDAPTLS_CACERT="$work/ca.crt" ldapwhoami -x -H "ldaps://127.0.0.1:$rsa_port")" = anonymous ] && signed rsa "$before" 1
}
check "a client without certificate" anonymous
check "the HSM restarts under load" hsm_restarts env LDAPTLS_CACERT="$work/ca.crt" ldapwhoami -x -H "ldaps://127.0.0.1:$rsa_port"
check "stops" end_process "$server"

free_port ec_port
check "ec: starts" start ec "$ec_port" demand
server=$pid
# Both ends sign with the same key.
mutual() {
    local before name
    before=$(signatures ec)
    name=$(with_provider env LDAPTLS_CACERT="$work/ca.crt" LDAPTLS_CERT="$work/client.crt" LDAPTLS_KEY="$work/client.key" \
        ldapwhoami -x -H "ldaps://127.0.0.1:$ec_port") || return 1
    [ "$name" = anonymous ] && signed ec "$before" 2
}
check "a client's certificate: a signature for each end" mutual
refused() { ! LDAPTLS_CACERT="$work/ca.crt" ldapwhoami -x -H "ldaps://127.0.0.1:$ec_port"; }
check "a client without certificate is refused" refused
check "stops" end_process "$server"
finish
