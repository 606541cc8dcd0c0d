#!/usr/bin/env bash
# MariaDB: the server's key, loading it again, and the client's certificate.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs mariadbd mariadb-server
key_file_options=(--uri-only)
start_hsm
mariadbd --version
free_port port
mkdir "$work/db"
user=()
if [ "$(id -u)" -eq 0 ]; then
    chown mysql: "$work/db"
    user=(--user=mysql)
fi
mariadb-install-db --no-defaults "${user[@]}" --datadir="$work/db" --auth-root-authentication-method=normal --skip-test-db >"$work/install.log" 2>&1 || {
    tail -n 20 "$work/install.log"
    broken "mariadb-install-db failed."
}
launch "$work/mariadb.log" mariadbd --no-defaults "${user[@]}" --datadir="$work/db" --port="$port" --bind-address=127.0.0.1 --socket="$work/db/socket" \
    --pid-file="$work/db/pid" --ssl-ca="$work/ca.crt" --ssl-cert="$work/rsa.crt" --ssl-key="$work/rsa.key" \
    --innodb-flush-log-at-trx-commit=0

ask() {
    mariadb --no-defaults --protocol=tcp --host=localhost --port="$port" --user=root --ssl-ca="$work/ca.crt" --ssl-verify-server-cert \
        --skip-column-names --execute "$1" 2>&1
}
asks() { ask "SELECT 1" >/dev/null; }
check "server: starts" eval "wait_until 60 asks || { ask 'SELECT 1'; tail '$work/mariadb.log'; false; }"
version() {
    local before
    before=$(signatures rsa)
    ask "SHOW STATUS LIKE 'Ssl_version'" | grep "TLSv1.3" && signed rsa "$before" 1
}
check "server: mariadb connects, TLS 1.3" version
handshakes server "$port" rsa -- -starttls mysql
reloads() {
    local i before good=yes
    begin_load asks
    for i in 1 2 3; do
        more_load 10 || good=no
        before=$(loads rsa)
        mariadb --no-defaults --user=root --socket="$work/db/socket" --execute "FLUSH SSL" || good=no
        [ "$(loads rsa)" -gt "$before" ] || good=no
    done
    more_load 10 || good=no
    end_load any && [ "$good" = yes ]
}
check "server: FLUSH SSL under load" reloads
check "server: the HSM restarts under load" hsm_restarts asks
client_certificate() {
    local before
    mariadb --no-defaults --user=root --socket="$work/db/socket" --execute "CREATE USER known@'%' REQUIRE SUBJECT '/CN=client'" || return 1
    before=$(signatures ec)
    with_provider mariadb --no-defaults --protocol=tcp --host=localhost --port="$port" --user=known --ssl-ca="$work/ca.crt" \
        --ssl-cert="$work/client.crt" --ssl-key="$work/client.key" --execute "SELECT 1" || return 1
    signed ec "$before" 1 && ! mariadb --no-defaults --protocol=tcp --host=localhost --port="$port" --user=known --ssl-ca="$work/ca.crt" --execute "SELECT 1"
}
check "mariadb: client certificate" client_certificate
finish
