#!/usr/bin/env bash
# tlslite-ng, a TLS of its own: each signature algorithm that it can offer is taken or refused by a server with a key in the HSM as by one
# with a software key, with the same alert. But one, which the service can't.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs_python tlslite tlslite-ng
start_hsm
software_certificate software-rsa
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=localhost -days 1 \
    -keyout "$work/software-ec.key" -out "$work/software-ec.crt" 2>/dev/null

offers() { # KEY
    free_port port
    launch "$work/$1.server" openssl s_server -www -accept "127.0.0.1:$port" -cert "$work/$1.crt" -key "$work/$1.key"
    wait_until 20 port_is_open "$port" || return 1
    timeout 120 "$python" tests/apps/tlslite/offers.py "$port" >"$work/$1.offers" 2>"$work/$1.errors" || { cat "$work/$1.errors"; return 1; }
    end_process "$pid"
}

unable='^TLS 1.2 rsa_pkcs1_sha224:'
same() { # KEY TAKEN REFUSED: at least so many
    offers "$1" && offers "software-$1" || return 1
    # The one thing that the service can't: RSA with SHA-224, which TLS 1.2 still names.
    grep -q 'rsa_pkcs1_sha224: signed' "$work/$1.offers" && return 1
    diff <(grep -v "$unable" "$work/software-$1.offers") <(grep -v "$unable" "$work/$1.offers") || return 1
    local taken refused
    taken=$(grep -c 'signed with' "$work/$1.offers") refused=$(grep -vc 'signed with' "$work/$1.offers")
    echo "figures: $taken taken, $refused refused"
    [ "$taken" -ge "$2" ] && [ "$refused" -ge "$3" ]
}
check "RSA key" same rsa 6 10
check "EC key" same ec 2 10
finish
