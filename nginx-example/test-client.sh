#!/usr/bin/env bash
# Connects to the running server in all ways it is made for, and looks at what the HSM was asked. The last line is
# "N passed, N failed, N skipped"; test-results.md gets the whole.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=nginx-example/hsm.sh
. "$here/hsm.sh"

require_programs openssl curl
nginx_runs "$run/nginx.pid" || fail "nginx doesn't run: ./start-server.sh starts it."
connect_hsm

passed=0 failed=0 skipped=0
rows=()
loaders=()
work=$(mktemp -d)
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    touch "$work/stop"
    wait "${loaders[@]}"
    rm -rf "$work"
}
trap clean_up EXIT

ok() {
    passed=$((passed + 1))
    rows+=("| $1 | ok | ${2:-} |")
    printf 'ok      %-64s %s\n' "$1" "${2:-}"
}

not_ok() {
    failed=$((failed + 1))
    rows+=("| $1 | FAILED | $2 |")
    printf 'FAILED  %-64s %s\n' "$1" "$2"
}

skip() {
    skipped=$((skipped + 1))
    rows+=("| $1 | skipped | $2 |")
    printf 'SKIPPED %-64s %s\n' "$1" "$2"
}

# How often the HSM signed with the servers' keys.
signatures() { echo "$(($(signatures_with "$RSA_KEY") + $(signatures_with "$EC_KEY")))"; }
has_signatures() { [ "$(signatures)" -ge "$1" ]; }

# What the provider asked the HSM for last.
last_algorithm() { sed -n 's/.* sign with .* algorithm=\([A-Z0-9]*\) .*/\1/p' "$run/provider.log" | tail -n 1; }

client() { openssl s_client -servername localhost -CAfile "$run/ca.crt" -verify_return_error -verify_hostname localhost "$@"; }

# A full handshake, which must take one signature, with the right key and algorithm:
# handshake PORT VERSION SIGNATURE_ALGORITHM KEY ALGORITHM_OF_THE_HSM
handshake() {
    local port=$1 version=$2 sigalg=$3 key=$4 algorithm=$5 before title output
    title="port $port, TLS $version, $sigalg"
    before=$(signatures_with "$key")
    if ! output=$(client -connect "127.0.0.1:$port" "-tls${version/./_}" -sigalgs "$sigalg" </dev/null 2>&1); then
        not_ok "$title" "no connection: $(grep -m 1 -i error <<<"$output")"
    elif ! grep -q "^New, TLSv$version, Cipher is" <<<"$output" || ! grep -q "^Verification: OK" <<<"$output"; then
        not_ok "$title" "not a verified connection by TLS $version"
    elif ! wait_until 5 has_signature "$key" "$((before + 1))" || [ "$(signatures_with "$key")" -ne "$((before + 1))" ]; then
        not_ok "$title" "$(($(signatures_with "$key") - before)) signatures by the HSM with $key instead of one"
    elif [ "$(last_algorithm)" != "$algorithm" ]; then
        not_ok "$title" "the HSM was asked for $(last_algorithm) instead of $algorithm"
    else
        ok "$title" "$algorithm with $key in the HSM"
    fi
}
# shellcheck disable=SC2317 # wait_until calls it
has_signature() { [ "$(signatures_with "$1")" -ge "$2" ]; }

# A handshake that must fail, without a signature: refused TITLE PORT OPTION…
refused() {
    local title="port $2 refuses $1" port=$2 before output
    shift 2
    before=$(signatures)
    if output=$(client -connect "127.0.0.1:$port" "$@" </dev/null 2>&1) && grep -q '^Verification: OK' <<<"$output"; then
        not_ok "$title" "it was accepted"
    elif ! grep -q 'alert' <<<"$output"; then
        not_ok "$title" "no alert: $(grep -m 1 -i error <<<"$output")"
    elif [ "$(signatures)" -ne "$before" ]; then
        not_ok "$title" "the HSM signed"
    else
        ok "$title" "no signature"
    fi
}

rsa_handshakes() {
    local hash
    for hash in 256 384 512; do
        handshake "$1" 1.2 "RSA+SHA$hash" "$RSA_KEY" "RS$hash"
        handshake "$1" 1.2 "rsa_pss_rsae_sha$hash" "$RSA_KEY" "PS$hash"
        handshake "$1" 1.3 "rsa_pss_rsae_sha$hash" "$RSA_KEY" "PS$hash"
    done
}

ec_handshakes() {
    local hash
    for hash in 256 384 512; do
        handshake "$1" 1.2 "ECDSA+SHA$hash" "$EC_KEY" ES256
    done
    # TLS 1.3 ties the hash to the curve.
    handshake "$1" 1.3 ECDSA+SHA256 "$EC_KEY" ES256
}

# page PORT PATH [OPTION OF curl]…
page() { curl --silent --show-error --fail --max-time 30 --cacert "$run/ca.crt" "https://localhost:$1$2" "${@:3}"; }

# What the page calls the key of a port.
key_of() {
    case $1 in
        "$RSA_PORT") echo "$RSA_KEY" ;;
        "$EC_PORT") echo "$EC_KEY" ;;
        *) echo "$RSA_KEY or $EC_KEY" ;;
    esac
}

pages() {
    local port=$1 version text
    for version in 1.2 1.3; do
        text=$(curl --silent --show-error --fail --max-time 30 --cacert "$run/ca.crt" --tls-max "$version" "https://localhost:$port/" 2>&1)
        if grep -q "^Hello from nginx" <<<"$text" && grep -q "^SSL Protocol: TLSv$version$" <<<"$text"; then
            ok "port $port, curl, TLS $version, /" "$(sed -n 's/^SSL Cipher: //p' <<<"$text")"
        else
            not_ok "port $port, curl, TLS $version, /" "$text"
        fi
    done
    text=$(page "$port" / --header "Accept: text/html" 2>&1)
    if [[ $text = "<!doctype html>"* ]] && grep -q "<dt>Private key<dd>.*$(key_of "$port")" <<<"$text" &&
        grep -q "<dt>SSL Protocol<dd>TLSv1.3" <<<"$text" && grep -q "the HSM signed once" <<<"$text"; then
        ok "port $port, curl, / for a browser" "a page with the key's name"
    else
        not_ok "port $port, curl, / for a browser" "$text"
    fi
    text=$(page "$port" /health 2>&1)
    if [[ $text = '{"status": "healthy", "ssl": true, '* ]]; then
        ok "port $port, curl, /health" "\`$text\`"
    else
        not_ok "port $port, curl, /health" "$text"
    fi
    text=$(page "$port" /info 2>&1)
    if [[ $text = "{\"nginx\": \"$(nginx_version)\", "*"\"port\": $port, "* ]]; then
        ok "port $port, curl, /info" "\`$text\`"
    else
        not_ok "port $port, curl, /info" "$text"
    fi
}

# One full handshake, then one with its session: together they take one signature.
resumption() {
    local port=$1 version=$2 title="port $1, TLS $2, session resumed" before request
    request=$'GET /info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    before=$(signatures)
    client -connect "127.0.0.1:$port" "-tls${version/./_}" -sess_out "$work/session" -ign_eof <<<"$request" >"$work/first" 2>&1
    client -connect "127.0.0.1:$port" "-tls${version/./_}" -sess_in "$work/session" -ign_eof <<<"$request" >"$work/second" 2>&1
    if ! grep -q '"resumed": "\."' "$work/first"; then
        not_ok "$title" "the first connection is no full handshake"
    elif ! grep -q '^Reused, ' "$work/second" || ! grep -q '"resumed": "r"' "$work/second"; then
        not_ok "$title" "the second connection has a new session"
    elif ! wait_until 5 has_signatures "$((before + 1))" || [ "$(signatures)" -ne "$((before + 1))" ]; then
        not_ok "$title" "$(($(signatures) - before)) signatures instead of one"
    else
        ok "$title" "two connections, one signature"
    fi
}

workers() { ps --no-headers -o pid,args --ppid "$(cat "$run/nginx.pid")" | awk '!/shutting down/ && /worker process/ { print $1 }' | sort; }
# shellcheck disable=SC2317 # wait_until calls it
replaced() {
    local now
    now=$(workers)
    [ "$(wc -l <<<"$now")" -eq "$(wc -l <<<"$1")" ] && [ -z "$(comm -12 <(echo "$1") <(echo "$now"))" ]
}

# Requests, each on a connection of its own, until the file `stop` is there; every full handshake takes a signature.
load() {
    local good=0 bad=0
    while [ ! -e "$work/stop" ]; do
        if page "$1" /health >>"$work/load.out" 2>>"$work/load.err"; then good=$((good + 1)); else bad=$((bad + 1)); fi
        echo "$good $bad" >"$work/load.$2"
    done
}
total() { cat "$work"/load.[0-9]* 2>/dev/null | awk -v field="$1" '{ sum += $field } END { print sum + 0 }'; }
# shellcheck disable=SC2317 # wait_until calls it
has_total() { [ "$(total 1)" -ge "$1" ]; }

reload_under_load() {
    local title="reload under load" reloads=5 before old i
    before=$(signatures)
    for i in 1 2 3; do
        load "$BOTH_PORT" "$i" &
        loaders+=("$!")
    done
    for ((i = 0; i < reloads; i++)); do
        # Some requests before each reload, so that it is under load.
        wait_until 60 has_total "$(($(total 1) + 10))" || break
        old=$(workers)
        with_hsm "$NGINX" -p "$run" -e "$run/nginx-error.log" -c "$run/nginx.conf" -s reload 2>"$work/reload.err"
        if ! wait_until 30 replaced "$old"; then
            not_ok "$title" "the workers were not replaced: $(tail -n 2 "$run/nginx-error.log")"
            break
        fi
    done
    wait_until 60 has_total "$(($(total 1) + 10))"
    touch "$work/stop"
    wait "${loaders[@]}"
    local good bad
    good=$(total 1) bad=$(total 2)
    if [ "$i" -lt "$reloads" ]; then
        return
    elif [ "$bad" -ne 0 ]; then
        not_ok "$title" "$bad of $((good + bad)) requests lost: $(head -n 1 "$work/load.err")"
    elif ! wait_until 5 has_signatures "$((before + good))" || [ "$(signatures)" -ne "$((before + good))" ]; then
        not_ok "$title" "$good requests, but $(($(signatures) - before)) signatures"
    else
        ok "$title" "$reloads reloads, $good requests, 0 lost, $good signatures by the HSM"
    fi
}

report() {
    cat <<END
# Test results

Written by \`test-client.sh\` on $(date --utc '+%Y-%m-%d %H:%M UTC').

| | |
|---|---|
| nginx | $(nginx_version), keys by $(page "$RSA_PORT" /info | sed -n 's/.*"key": "\([^"]*\)".*/\1/p') |
| OpenSSL | $(openssl version) |
| HSM | $(if uses_emulator; then echo "managed-hsm-emulator, on this machine: **no HSM**"; else echo "$hsm"; fi) |
| system | $(. /etc/os-release && echo "$PRETTY_NAME"), $(uname --machine) |

**$passed passed, $failed failed, $skipped skipped**

| check | result | |
|---|---|---|
$(printf '%s\n' "${rows[@]}")

## The page

\`\`\`
$(page "$RSA_PORT" /)
\`\`\`

## The certificates

\`\`\`
$(for name in rsa ec; do openssl x509 -in "$run/$name.crt" -noout -subject -issuer -ext subjectAltName; done)
\`\`\`

## What the provider asked the HSM for, last

\`\`\`
$(grep ' sign with ' "$run/provider.log" | tail -n 3)
\`\`\`
END
    if uses_emulator; then
        cat <<END

## The same, told by the emulator

\`\`\`
$(grep '/sign status' "$run/requests.log" | tail -n 3)
\`\`\`
END
    fi
}

rsa_handshakes "$RSA_PORT"
ec_handshakes "$EC_PORT"
rsa_handshakes "$BOTH_PORT"
ec_handshakes "$BOTH_PORT"
for port in "$RSA_PORT" "$EC_PORT" "$BOTH_PORT"; do
    pages "$port"
    for version in 1.2 1.3; do
        resumption "$port" "$version"
    done
done
refused "TLS 1.1" "$RSA_PORT" -tls1_1 -cipher DEFAULT@SECLEVEL=0
refused "RSA key exchange" "$RSA_PORT" -tls1_2 -cipher kRSA
refused "RSA signatures" "$EC_PORT" -sigalgs RSA+SHA256:rsa_pss_rsae_sha256
refused "ECDSA signatures" "$RSA_PORT" -sigalgs ECDSA+SHA256
reload_under_load

report >"$here/test-results.md"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
