#!/usr/bin/env bash
# ML-DSA, which OpenSSL knows from 3.5 on: a CA of openssl, nginx with certificates of EC and ML-DSA, plain clients of OpenSSL and
# GnuTLS; and what handshakes weigh.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs openssl openssl
version=$(openssl version | cut -d' ' -f2)
if [ "$(printf '%s\n' 3.5 "$version" | sort --version-sort | head -n 1)" != 3.5 ]; then
    skip "ML-DSA" "OpenSSL $version knows none (3.5 is needed: scripts/applications.sh --suite forky post-quantum)"
    finish
fi
needs nginx nginx-light
# In the provider's configuration too: nginx gives its workers no variables.
export AKV_API_VERSION=2026-05-01-preview
start_hsm
echo "OpenSSL $version, $(nginx -v 2>&1 | sed 's|.*: ||')"

sets=(ml-dsa-44 ml-dsa-65 ml-dsa-87)
for set in "${sets[@]}"; do
    "$target/akv" keys create "managedhsm:MyHSM:$set" --type "$set" >/dev/null || broken "No key of $set could be made."
    "$target/akv" keys create "managedhsm:MyHSM:ca-$set" --type "$set" >/dev/null || broken "No key of $set could be made."
done

# --- openssl ca: a CA of each parameter set, which issues a certificate for a server key of the same -------------------

# ca_of SET: the CA's configuration and its own certificate
ca_of() {
    local folder="$work/ca-$1"
    mkdir -p "$folder/new"
    : >"$folder/index"
    echo 01 >"$folder/serial"
    echo 01 >"$folder/crlnumber"
    cat >"$folder/ca.cnf" <<END
[ca]
default_ca = own
[own]
database = $folder/index
serial = $folder/serial
crlnumber = $folder/crlnumber
new_certs_dir = $folder/new
certificate = $folder/ca.crt
default_days = 1
default_crl_days = 1
policy = any
x509_extensions = server
[any]
commonName = supplied
[server]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
subjectAltName = DNS:localhost,IP:127.0.0.1
END
    with_provider openssl req -new -x509 -key "managedhsm:MyHSM:ca-$1" -days 2 -subj "/CN=Test CA $1" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out "$folder/ca.crt"
}

issues() {
    local folder="$work/ca-$1" before
    ca_of "$1" || return 1
    "$target/akv" key pem "managedhsm:MyHSM:$1" --out "$work/$1.key" && chmod 644 "$work/$1.key" || return 1
    before=$(signatures "ca-$1")
    with_provider openssl req -new -key "$work/$1.key" -subj /CN=localhost -out "$work/$1.csr" &&
        openssl req -in "$work/$1.csr" -verify -noout &&
        with_provider openssl ca -config "$folder/ca.cnf" -keyfile "managedhsm:MyHSM:ca-$1" -batch -notext \
            -in "$work/$1.csr" -out "$work/$1.crt" &&
        signed "ca-$1" "$before" 1 && openssl verify -CAfile "$folder/ca.crt" "$work/$1.crt"
}

revokes() {
    local folder="$work/ca-$1"
    with_provider openssl ca -config "$folder/ca.cnf" -keyfile "managedhsm:MyHSM:ca-$1" -revoke "$work/$1.crt" &&
        with_provider openssl ca -config "$folder/ca.cnf" -keyfile "managedhsm:MyHSM:ca-$1" -gencrl -out "$folder/ca.crl" &&
        openssl crl -in "$folder/ca.crl" -CAfile "$folder/ca.crt" -noout &&
        ! openssl verify -crl_check -CAfile "$folder/ca.crt" -CRLfile "$folder/ca.crl" "$work/$1.crt"
}

for set in "${sets[@]}"; do
    check "req and ca, $set" issues "$set"
    check "ca -revoke and -gencrl, $set" revokes "$set"
done

# --- nginx: a server with both kinds of certificates, and one with each kind -------------------------------------------

free_port both
free_port only_ec
ports=()
for set in "${sets[@]}"; do
    free_port port
    ports+=("$port")
done

# server PORT NAME…
server() {
    local name
    printf 'server { listen 127.0.0.1:%d ssl; location / { return 200 here; }\n' "$1"
    for name in "${@:2}"; do
        echo "ssl_certificate $work/$name.crt; ssl_certificate_key $work/$name.key;"
    done
    echo "}"
}

start_nginx() {
    local i
    {
        [ "$(id -u)" -ne 0 ] || echo "user www-data;"
        echo "pid $work/nginx.pid; error_log $work/nginx.log info; worker_processes 2; events {}"
        echo "http { access_log off; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:1m;"
        printf '%s_temp_path %s/temporary;\n' client_body "$work" proxy "$work" fastcgi "$work" uwsgi "$work" scgi "$work"
        server "$both" ec ml-dsa-65
        server "$only_ec" ec
        for i in "${!sets[@]}"; do
            server "${ports[i]}" "${sets[i]}"
        done
        echo "}"
    } >"$work/nginx.conf"
    with_provider nginx -p "$work" -e "$work/nginx.log" -c "$work/nginx.conf" || return 1
    wait_until 10 test -s "$work/nginx.pid" || return 1
    started "$(cat "$work/nginx.pid")"
}
check "nginx starts with EC and ML-DSA keys" start_nginx

# One handshake with one signature of the key that is meant: connects PORT CA KEY KIND [OPTION…]
connects() {
    local port=$1 ca=$2 key=$3 kind=$4 before
    shift 4
    before=$(signatures "$key")
    timeout 60 openssl s_client -connect "127.0.0.1:$port" -servername localhost -CAfile "$ca" -verify_return_error \
        -verify_hostname localhost "$@" </dev/null >"$work/client.out" 2>&1
    if ! grep -q '^Verification: OK' "$work/client.out" || ! grep -Eq "^Peer signature type: ($kind)" "$work/client.out"; then
        grep -v '^    ' "$work/client.out" | tail -n 20
        return 1
    fi
    sed -n 's/^SSL handshake has read \([0-9]*\) bytes and written \([0-9]*\) bytes$/figures: \1 B read, \2 B written/p' "$work/client.out"
    sed -n 's/^Negotiated TLS1.3 group: \(.*\)$/figures: \1/p' "$work/client.out"
    signed "$key" "$before" 1
}

pq_ca="$work/ca-ml-dsa-65/ca.crt"
check "both certificates: a client that knows EC gets EC" connects "$both" "$work/ca.crt" ec ecdsa_ -sigalgs ECDSA+SHA256
check "both certificates: the same by TLS 1.2" connects "$both" "$work/ca.crt" ec 'ECDSA|ecdsa_' -tls1_2
check "both certificates: a client that wants ML-DSA gets ML-DSA" connects "$both" "$pq_ca" ml-dsa-65 mldsa65 -sigalgs mldsa65:ECDSA+SHA256
for group in X25519 X25519MLKEM768; do
    check "handshake, EC, $group" connects "$only_ec" "$work/ca.crt" ec ecdsa_ -tls1_3 -groups "$group"
    for i in "${!sets[@]}"; do
        check "handshake, ${sets[i]}, $group" connects "${ports[i]}" "$work/ca-${sets[i]}/ca.crt" "${sets[i]}" "mldsa${sets[i]##*-}" \
            -tls1_3 -groups "$group"
    done
done

# --- a client of another make -------------------------------------------------------------------------------------------

# gnutls PORT CA PRIORITY
gnutls() {
    timeout 60 gnutls-cli --x509cafile "$2" --priority "$3" --port "$1" --sni-hostname localhost --verify-hostname localhost \
        127.0.0.1 </dev/null >"$work/gnutls.out" 2>&1
    if ! grep -q 'Status: The certificate is trusted' "$work/gnutls.out" || ! grep -q 'Handshake was completed' "$work/gnutls.out"; then
        cat "$work/gnutls.out"
        return 1
    fi
    sed -n 's/^- Description: \(.*\)$/figures: \1/p' "$work/gnutls.out"
}

# gnutls_connects PORT CA KEY [PRIORITY]
gnutls_connects() {
    local before
    before=$(signatures "$3")
    gnutls "$1" "$2" "${4:-NORMAL}" && signed "$3" "$before" 1
}

# Whether GnuTLS can verify ML-DSA at all, by a server of plain OpenSSL with a software key. Debian's offers it and can't.
gnutls_verifies_ml_dsa() {
    local port
    free_port port
    openssl req -new -x509 -newkey ML-DSA-65 -noenc -keyout "$work/software.key" -out "$work/software.crt" -days 1 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null || return 1
    openssl s_server -accept "127.0.0.1:$port" -cert "$work/software.crt" -key "$work/software.key" -www >"$work/software.log" 2>&1 &
    started "$!"
    wait_until 10 grep -q ACCEPT "$work/software.log" && gnutls "$port" "$work/software.crt" NORMAL >/dev/null
}

gnutls=$(gnutls-cli --version 2>/dev/null | sed -n '1s/^gnutls-cli //p')
if [ -z "$gnutls" ]; then
    skip "GnuTLS as a client" "gnutls-cli is not installed (apt-get install gnutls-bin)"
else
    without=NORMAL:-SIGN-ML-DSA-44:-SIGN-ML-DSA-65:-SIGN-ML-DSA-87
    check "both certificates: GnuTLS $gnutls without ML-DSA gets EC" gnutls_connects "$both" "$work/ca.crt" ec "$without"
    if gnutls_verifies_ml_dsa; then
        for i in "${!sets[@]}"; do
            check "GnuTLS $gnutls as a client, ${sets[i]}" gnutls_connects "${ports[i]}" "$work/ca-${sets[i]}/ca.crt" "${sets[i]}"
        done
    else
        skip "GnuTLS as a client with ML-DSA" "GnuTLS $gnutls refuses the signatures of OpenSSL's own ML-DSA keys as well"
    fi
fi
finish
