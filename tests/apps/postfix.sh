#!/usr/bin/env bash
# Postfix: the keys of its SMTP server.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs postfix postfix
if [ "$(id -u)" -ne 0 ]; then
    skip postfix "it is started by root"
    finish
fi
key_file_options=(--uri-only)
start_hsm
echo "Postfix $(postconf -h mail_version)"
free_port port
mkdir -p "$work/etc" "$work/queue" "$work/data"
chown postfix: "$work/data"
# Postfix gives its programs only the variables that it is told.
cat >"$work/etc/main.cf" <<END
compatibility_level = 3.6
queue_directory = $work/queue
data_directory = $work/data
maillog_file = $work/queue/log
maillog_file_prefixes = $work
import_environment = MAIL_CONFIG TZ LANG OPENSSL_CONF=$work/openssl.cnf AZURE_CLI_ACCESS_TOKEN=$AZURE_CLI_ACCESS_TOKEN
inet_interfaces = 127.0.0.1
myhostname = localhost
mydestination = localhost
alias_maps =
alias_database =
local_recipient_maps =
smtpd_tls_security_level = may
smtpd_tls_cert_file = $work/rsa.crt
smtpd_tls_key_file = $work/rsa.key
smtpd_tls_eccert_file = $work/ec.crt
smtpd_tls_eckey_file = $work/ec.key
smtpd_tls_loglevel = 1
END
# Debian's services, at another port and without chroot.
sed -E "s/^smtp +inet .*/127.0.0.1:$port inet n - n - - smtpd/; s/^(\S+ +unix +\S+ +\S+ +)y/\1n/" /usr/share/postfix/master.cf.dist >"$work/etc/master.cf"
check "starts" postfix -c "$work/etc" start
started "$(tr -d ' ' <"$work/queue/pid/master.pid")"
check "listens" wait_until 20 port_is_open "$port"
handshake_any() { client -connect "127.0.0.1:$port" -starttls smtp </dev/null 2>&1 | grep '^New, TLSv1'; }
handshakes "smtpd" "$port" rsa ec -- -starttls smtp
check "smtpd: the HSM restarts under load" hsm_restarts handshake_any
# A server that was idle may take one more connection before it ends.
connect_until() { handshake_any >/dev/null; "$@"; }
loaded_since() { [ "$(loads rsa)" -gt "$1" ]; }
reload() {
    local before
    before=$(loads rsa)
    postfix -c "$work/etc" reload && wait_until 20 connect_until loaded_since "$before" &&
        handshake "$port" 1.3 RSA-PSS+SHA256 rsa -starttls smtp
}
check "smtpd: reload" reload
# Its own parser of smtpd_tls_chain_files knows the labels of software keys only.
chain_files() {
    postconf -c "$work/etc" "smtpd_tls_chain_files = $work/rsa.key, $work/rsa.crt"
    postfix -c "$work/etc" reload
    wait_until 20 connect_until grep -m 1 "ignoring PEM type: AKV PROVIDER URI" "$work/queue/log" && ! handshake_any
}
check "smtpd_tls_chain_files: impossible, it passes over the key" chain_files
check "stops" postfix -c "$work/etc" stop
finish
