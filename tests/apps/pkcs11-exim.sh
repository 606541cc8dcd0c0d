#!/usr/bin/env bash
# exim, whose TLS is GnuTLS in Debian: certificate and key of its server as pkcs11: URIs. OpenLDAP 2.5 can't.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs_engine
if [ "$(id -u)" -ne 0 ]; then
    skip "${0##*/}" "exim takes a configuration of another place from root only"
    finish
fi
start_token
token_home
token_certificate rsa rsa
token_certificate ec ec

# smtp PORT VERSION KEY SIGNATURES: a handshake by STARTTLS, verified
smtp() {
    local before said kind
    before=$(signatures "$3")
    case $3 in rsa) kind='RSA|rsa' ;; *) kind='ECDSA|ecdsa' ;; esac
    said=$(client -starttls smtp -connect "127.0.0.1:$1" "-tls${2/./_}" </dev/null 2>&1)
    if ! grep -q "^New, TLSv$2, Cipher is" <<<"$said" || ! grep -Eq "^Peer signature type: .*($kind)" <<<"$said" ||
        ! grep -q "^Verification: OK" <<<"$said"; then
        tail -n 20 <<<"$said"
        tail -n 5 "$work"/exim/*log "$work/exim.out"
        return 1
    fi
    signed "$3" "$before" "$4"
}

if command -v exim4 >/dev/null && ldd "$(command -v exim4)" | grep -q libgnutls; then
    exim4 -bV 2>/dev/null | head -n 1
    mkdir -m 777 "$work/exim"
    chmod 644 "$MHSM_PKCS11_CONF"
    for key in rsa ec; do
        free_port port
        cat >"$work/exim-$key.conf" <<END
exim_user = root
exim_group = root
never_users =
primary_hostname = localhost
spool_directory = $work/exim
log_file_path = $work/exim/%slog
tls_advertise_hosts = *
tls_certificate = <| $(token_uri "$key" cert)
tls_privatekey = <| $(token_uri "$key")
gnutls_allow_auto_pkcs11 = true
keep_environment = AZURE_CLI_ACCESS_TOKEN : AKV_CA_FILE : AZURE_MANAGEDHSM_URL : MHSM_PKCS11_CONF
END
        launch "$work/exim.out" "${in_token_home[@]}" exim4 -C "$work/exim-$key.conf" -bdf -oX "127.0.0.1.$port"
        wait_until 20 port_is_open "$port"
        for version in 1.2 1.3; do
            # GnuTLS signs once before, to see whether key and certificate belong together.
            check "exim: SMTP, TLS $version, $key" smtp "$port" "$version" "$key" 2
        done
    done
else
    skip "exim" "exim4 with GnuTLS is not installed (apt-get install exim4-daemon-light)"
fi

# OpenLDAP reads files itself, and hands their contents to GnuTLS.
if ldd /usr/sbin/slapd 2>/dev/null | grep libldap | grep -q 2.5; then
    mkdir -m 700 "$work/ldap"
    # slapd_conf CERTIFICATE KEY
    slapd_conf() {
        cat <<END
include /etc/ldap/schema/core.schema
pidfile $work/ldap/pid
modulepath /usr/lib/ldap
moduleload back_ldif
TLSCertificateFile "$1"
TLSCertificateKeyFile "$2"
database ldif
directory $work/ldap
suffix "dc=test"
END
    }
    refused() {
        local said
        free_port port
        slapd_conf "$(token_uri rsa cert)" "$(token_uri rsa)" >"$work/slapd.conf"
        said=$(in_token_home timeout 20 /usr/sbin/slapd -f "$work/slapd.conf" -h "ldaps://127.0.0.1:$port/" -d config 2>&1) &&
            { echo "it started"; return 1; }
        echo "$said"
        grep -q "TLS init def ctx failed" <<<"$said"
    }
    check "OpenLDAP 2.5: impossible, it looks for files" refused
    # What else could keep it from starting does not.
    starts_with_files() {
        free_port port
        openssl req -x509 -newkey rsa:2048 -noenc -keyout "$work/own.key" -subj /CN=localhost -days 2 -out "$work/own.crt" 2>/dev/null
        slapd_conf "$work/own.crt" "$work/own.key" >"$work/own.conf"
        launch "$work/slapd.log" /usr/sbin/slapd -f "$work/own.conf" -h "ldaps://127.0.0.1:$port/" -d config
        wait_until 20 port_is_open "$port" || { cat "$work/slapd.log"; return 1; }
        openssl s_client -connect "127.0.0.1:$port" -CAfile "$work/own.crt" -verify_return_error </dev/null >"$work/slapd.tls" 2>&1 &&
            grep -q '^Verification: OK' "$work/slapd.tls" && end_process "$pid"
    }
    check "OpenLDAP 2.5: starts with a software key" starts_with_files
else
    skip "OpenLDAP" "slapd 2.5 is not installed (apt-get install slapd)"
fi
finish
