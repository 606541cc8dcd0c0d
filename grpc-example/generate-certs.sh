#!/usr/bin/env bash
# Makes a CA and the certificates of both sidecars. All keys are in the HSM, the CA's too, and the HSM signs everything.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=grpc-example/grpc.sh
. "$here/grpc.sh"

require_programs openssl
connect_hsm
# shellcheck disable=SC2153 # set by .env or .env.example
for key in "$CA_KEY" "$SERVER_KEY" "$CLIENT_KEY"; do
    ensure_key "$key" ec
done
write_key_file "$CA_KEY" "$run/ca.key"
write_key_file "$SERVER_KEY" "$run/server.key"
write_key_file "$CLIENT_KEY" "$run/client.key"
make_ca "$run/ca.key" "gRPC Demo CA" "$run/ca.crt"
server_extensions=$(printf '%s\n' extendedKeyUsage=serverAuth subjectAltName=DNS:localhost,IP:127.0.0.1)
make_certificate "$run/server.key" "/O=Azure HSM Demo/CN=localhost" "$server_extensions" "$run/ca.key" "$run/ca.crt" "$run/server.crt"
make_certificate "$run/client.key" "/O=Azure HSM Demo/CN=greeter-client" extendedKeyUsage=clientAuth \
    "$run/ca.key" "$run/ca.crt" "$run/client.crt"
openssl verify -purpose sslserver -CAfile "$run/ca.crt" -verify_hostname localhost "$run/server.crt"
openssl verify -purpose sslclient -CAfile "$run/ca.crt" "$run/client.crt"

# Two that the server must refuse: one by a CA that it doesn't know, and one whose time is over. openssl x509 takes a
# number of days only, so the CA of openssl ca makes the second.
make_ca "$run/client.key" "Another CA" "$run/foreign-ca.crt"
make_certificate "$run/client.key" "/O=Azure HSM Demo/CN=foreign" extendedKeyUsage=clientAuth \
    "$run/client.key" "$run/foreign-ca.crt" "$run/foreign.crt"
mkdir -p "$run/expired"
: >"$run/expired/index.txt"
cat >"$run/expired/ca.cnf" <<END
.include $run/openssl.cnf
[ca]
default_ca = demo
[demo]
database = $run/expired/index.txt
new_certs_dir = $run/expired
rand_serial = yes
default_md = sha256
policy = anything
[anything]
organizationName = optional
commonName = supplied
END
# The include brings the provider; what this file says comes first.
{
    head -n 1 "$run/openssl.cnf"
    cat "$run/expired/ca.cnf"
} >"$run/expired/openssl.cnf"
with_hsm openssl req -new -key "$run/client.key" -subj "/O=Azure HSM Demo/CN=expired" -out "$run/expired/request.csr"
OPENSSL_CONF="$run/expired/openssl.cnf" openssl ca -batch -notext -config "$run/expired/openssl.cnf" \
    -cert "$run/ca.crt" -keyfile "$run/ca.key" -startdate 20240101000000Z -enddate 20240102000000Z \
    -in "$run/expired/request.csr" -out "$run/expired.crt" 2>"$run/error" || { cat "$run/error" >&2; exit 1; }
for name in server client foreign expired; do
    echo "$name: $(openssl x509 -in "$run/$name.crt" -noout -subject -enddate | paste -sd' ')"
done
