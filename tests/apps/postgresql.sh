#!/usr/bin/env bash
# PostgreSQL: the server's key, reloads, and the certificate of a libpq client.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

# Debian keeps the server's programs by version.
for folder in /usr/lib/postgresql/*/bin; do PATH=$folder:$PATH; done
needs initdb postgresql
needs psql postgresql-client
key_file_options=(--uri-only)
start_hsm
postgres --version

# PostgreSQL refuses to run as root.
as_postgres=()
if [ "$(id -u)" -eq 0 ]; then
    as_postgres=(runuser -u postgres --)
fi
mkdir "$work/pg"
free_port port
cp "$work/rsa.crt" "$work/pg/server.crt"
install -m 600 "$work/rsa.key" "$work/pg/server.key"
install -m 600 "$work/client.key" "$work/own.key"
[ "$(id -u)" -ne 0 ] || chown -R postgres: "$work/pg"
cd "$work/pg" || exit
"${as_postgres[@]}" "$(command -v initdb)" --auth=trust --username=postgres --no-sync -D "$work/pg/data" >"$work/initdb.log" 2>&1 || {
    cat "$work/initdb.log"
    broken "initdb failed."
}
cat >>"$work/pg/data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$work/pg'
fsync = off
ssl = on
ssl_cert_file = '$work/pg/server.crt'
ssl_key_file = '$work/pg/server.key'
ssl_ca_file = '$work/ca.crt'
END
cat >"$work/pg/data/pg_hba.conf" <<END
local all postgres trust
hostssl all client 127.0.0.1/32 cert
hostssl all postgres 127.0.0.1/32 trust
END
launch "$work/pg.log" "${as_postgres[@]}" "$(command -v postgres)" -D "$work/pg/data"

# A connection by TLS, which says what the server knows about it: connect USER [SETTING=VALUE…]
connect() {
    local user=$1
    shift
    with_provider psql --no-psqlrc --tuples-only --no-align --command \
        "SELECT version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()" \
        "host=localhost hostaddr=127.0.0.1 port=$port dbname=postgres user=$user sslmode=verify-full sslrootcert=$work/ca.crt $*" 2>&1
}
connects() { connect postgres >/dev/null; }
answers_to() {
    local before answer
    before=$(signatures rsa)
    answer=$(connect postgres "ssl_min_protocol_version=TLSv$1 ssl_max_protocol_version=TLSv$1")
    [ "$answer" = "TLSv$1|" ] || { echo "$answer"; return 1; }
    signed rsa "$before" 1
}
check "server: starts" eval "wait_until 60 connects || { connect postgres; cat '$work/pg.log'; false; }"
psql --no-psqlrc --quiet --command "CREATE ROLE client LOGIN" "host=$work/pg port=$port dbname=postgres user=postgres" ||
    broken "No user could be made."
check "server: TLS 1.2" answers_to 1.2
check "server: TLS 1.3" answers_to 1.3
handshakes "server, s_client" "$port" rsa -- -starttls postgres
# A reload loads the key again, and new connections take it.
reloads() {
    local i before good=yes
    begin_load connect postgres
    for i in 1 2 3; do
        more_load 6 || good=no
        before=$(loads rsa)
        kill -HUP "$(head -n 1 "$work/pg/data/postmaster.pid")"
        wait_until 30 eval "[ \$(loads rsa) -gt $before ]" || { echo "the key was not loaded again"; good=no; }
    done
    more_load 6 || good=no
    end_load 1 && [ "$good" = yes ]
}
check "server: reloads under load" reloads
check "server: the HSM restarts under load" hsm_restarts connect postgres

# The client's key signs, and the server knows it.
client_certificate() {
    local before answer
    before=$(signatures ec)
    answer=$(connect client "sslcert=$work/client.crt sslkey=$work/own.key ssl_min_protocol_version=TLSv$1 ssl_max_protocol_version=TLSv$1")
    [ "$answer" = "TLSv$1|/CN=client" ] || { echo "$answer"; return 1; }
    signed ec "$before" 1
}
check "libpq: client certificate, TLS 1.2" client_certificate 1.2
check "libpq: client certificate, TLS 1.3" client_certificate 1.3
check "libpq: without it the server refuses" eval "! connect client"
check "server: stops" end_process "$(head -n 1 "$work/pg/data/postmaster.pid")" INT
finish
