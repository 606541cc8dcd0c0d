#!/usr/bin/env bash
# Dovecot: the keys of its IMAP server.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs dovecot dovecot-imapd
if [ "$(id -u)" -ne 0 ]; then
    skip dovecot "it is started by root"
    finish
fi
key_file_options=(--uri-only)
start_hsm
version=$(dovecot --version | cut -d' ' -f1)
echo "Dovecot $version"
free_port port
mkdir "$work/mail"
chown mail:mail "$work/mail"
# What 2.3 and 2.4 write differently: the keys, the environment, users and where their mail is.
case $version in
    2.3.*)
        clients='service_count = 0'
        cat <<END
import_environment = OPENSSL_CONF=$work/openssl.cnf AZURE_CLI_ACCESS_TOKEN=$AZURE_CLI_ACCESS_TOKEN
ssl_cert = <$work/rsa.crt
ssl_key = <$work/rsa.key
ssl_alt_cert = <$work/ec.crt
ssl_alt_key = <$work/ec.key
mail_location = maildir:$work/mail
passdb {
    driver = static
    args = password=secret
}
userdb {
    driver = static
    args = uid=mail gid=mail home=$work/mail
}
END
        ;;
    *)
        clients='restart_request_count = unlimited'
        cat <<END
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
import_environment {
    OPENSSL_CONF = $work/openssl.cnf
    AZURE_CLI_ACCESS_TOKEN = $AZURE_CLI_ACCESS_TOKEN
}
ssl_server {
    cert_file = $work/rsa.crt
    key_file = $work/rsa.key
    alt_cert_file = $work/ec.crt
    alt_key_file = $work/ec.key
}
mail_driver = maildir
mail_path = $work/mail
passdb static {
    password = secret
}
userdb static {
    fields {
        uid = mail
        gid = mail
        home = $work/mail
    }
}
END
        ;;
esac >"$work/dovecot.conf"
# Login processes see the whole file system here, and serve many clients each.
cat >>"$work/dovecot.conf" <<END
base_dir = $work/dovecot
log_path = $work/dovecot.log
listen = 127.0.0.1
protocols = imap
ssl = required
first_valid_uid = 1
shutdown_clients = no
service imap-login {
    chroot =
    $clients
    process_min_avail = 1
    inet_listener imap {
        port = 0
    }
    inet_listener imaps {
        port = $port
        ssl = yes
    }
}
END
launch "$work/dovecot.out" dovecot -F -c "$work/dovecot.conf"
server=$pid
mailboxes() { page --user me:secret "imaps://localhost:$port/"; }
has_inbox() { mailboxes 2>/dev/null | grep -q INBOX; }
starts() { wait_until 30 has_inbox || { mailboxes; tail "$work/dovecot.out" "$work/dovecot.log"; false; }; }
check "starts, and a client reads its mailboxes" starts
[ "$failed" -eq 0 ] || finish
handshakes "imap-login" "$port" rsa ec
# Handshakes only: at a reload Dovecot ends sessions that are just being logged in, whatever key it has.
handshake_any() { client -connect "127.0.0.1:$port" </dev/null 2>&1 | grep '^New, TLSv1'; }
reloads() {
    local i before good=yes
    begin_load handshake_any
    for i in 1 2 3; do
        more_load 10 || good=no
        before=$(loads rsa)
        doveadm -c "$work/dovecot.conf" reload
        wait_until 30 eval "[ \$(loads rsa) -gt $before ]" || { echo "the key was not loaded again"; good=no; }
    done
    more_load 10 || good=no
    end_load 1 && [ "$good" = yes ]
}
check "reloads under load" reloads
check "the HSM restarts under load" hsm_restarts mailboxes
check "stops" end_process "$server"
finish
