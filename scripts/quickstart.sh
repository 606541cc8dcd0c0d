#!/usr/bin/env bash
# From a fresh Debian or Ubuntu to certificates and TLS with keys in a (local, emulated) Managed HSM.
# Installs missing packages, builds, shows what the provider does, and stops what it started.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/emulator.sh
. scripts/packages.sh
. scripts/built.sh

if [ -t 1 ]; then bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' green='' red='' dim='' plain=''; fi

folder=
built=$shipped/release
server_pid=
step_number=0

step() {
    step_number=$((step_number + 1))
    printf '\n%s%d. %s%s\n' "$bold" "$step_number" "$1" "$plain"
}

done_line() {
    printf '   %s✓%s %-51s %s%s%s\n' "$green" "$plain" "$1" "$dim" "${2:-}" "$plain"
}

fail() {
    printf '   %s✗ %s%s\n' "$red" "$1" "$plain" >&2
    exit 1
}

stop_server() {
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=
    fi
}

clean_up() {
    local status=$?
    stop_server
    stop_emulator
    if [ "$status" -ne 0 ] && [ -n "$folder" ]; then
        echo "${red}Stopped at step $step_number.${plain} Files and logs are in $folder" >&2
    elif [ -n "$folder" ]; then
        rm -rf "$folder"
    fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command and sets `took` to its milliseconds. What it prints is shown if it fails.
timed() {
    local start
    start=$(date +%s%N)
    if ! "$@" >"$folder/command.log" 2>&1 </dev/null; then
        cat "$folder/command.log" >&2
        fail "$*"
    fi
    took="$((($(date +%s%N) - start) / 1000000)) ms"
}

size_of() { echo "$(stat --format=%s "$1") bytes"; }

# openssl with the provider.
akv() {
    local command=$1
    shift
    openssl "$command" -provider-path "$built" -provider akv_provider -provider default "$@"
}

# Certificates and signatures with one key.
use_key() {
    local name=$1 uri="managedhsm:MyHSM:$1"
    timed akv req -new -key "$uri" -subj "/CN=localhost" -out "$folder/$name.csr"
    local made=$took
    timed openssl req -in "$folder/$name.csr" -verify -noout
    done_line "certificate request, verified by plain openssl" "$(size_of "$folder/$name.csr"), $made"

    timed akv req -new -x509 -key "$uri" -days 30 -subj "/CN=localhost" \
        -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" -out "$folder/$name.crt"
    made=$took
    timed openssl verify -check_ss_sig -CAfile "$folder/$name.crt" "$folder/$name.crt"
    done_line "self-signed certificate, verified by plain openssl" "$(size_of "$folder/$name.crt"), $made"

    timed openssl x509 -in "$folder/$name.crt" -noout -pubkey
    cp "$folder/command.log" "$folder/$name.pub"
    timed akv dgst -sha256 -sign "$uri" -out "$folder/$name.sig" "$folder/message.txt"
    made=$took
    timed openssl dgst -sha256 -verify "$folder/$name.pub" -signature "$folder/$name.sig" "$folder/message.txt"
    done_line "SHA-256 signature, verified by plain openssl" "$(size_of "$folder/$name.sig"), $made"
}

# Waits until s_server has printed the port that it listens on, and sets `port`.
wait_for_server() {
    port=$(timeout 30 sed -n -u '/^ACCEPT/{s/.*://p;q}' <&"$server_output") || true
    [ -n "$port" ] || { cat "$folder/s_server.log" >&2; fail "openssl s_server did not start"; }
}

# A TLS server with one key, and curl as its client.
serve_with() {
    local name=$1 version
    exec {server_output}< <(exec openssl s_server -provider-path "$built" -provider akv_provider \
        -provider default -www -accept 127.0.0.1:0 -cert "$folder/$name.crt" \
        -key "managedhsm:MyHSM:$name" 2>"$folder/s_server.log" </dev/null)
    server_pid=$!
    wait_for_server
    for version in 1.3 1.2; do
        timed curl --silent --show-error --fail --max-time 30 --cacert "$folder/$name.crt" \
            "--tlsv$version" --tls-max "$version" "https://localhost:$port/"
        grep -q "TLSv$version" "$folder/command.log" || fail "the server's page does not name TLSv$version"
        done_line "TLS $version, $2 certificate, curl" \
            "$(sed -n 's/.*Cipher *is *\([A-Z0-9_-]*\).*/\1/p;s/^ *Cipher *: *\([A-Z0-9_-]*\).*/\1/p' "$folder/command.log" | head -n 1), $took"
    done
    stop_server
    exec {server_output}<&-
}

# Of cargo's lines that tell how far it is passes on one a minute, and all others.
one_a_minute() {
    local line told=$SECONDS
    while IFS= read -r line; do
        if [[ $line =~ ^\ *(Updating|Locking|Downloading|Downloaded|Compiling|Finished)\  ]]; then
            [ "$((SECONDS - told))" -ge 60 ] || continue
            told=$SECONDS
            line="   after $((SECONDS - started)) s: ${line#"${line%%[! ]*}"}"
        fi
        printf '%s\n' "$line"
    done
}

printf '%sAzure Managed HSM provider for OpenSSL: quick start%s\n' "$bold" "$plain"

step "Tools and packages"
install_missing build-essential pkg-config libssl-dev openssl curl ca-certificates
done_line "Debian packages" "$(openssl version | cut -d' ' -f1,2)"
require_cargo
done_line "Rust toolchain" "$(cargo --version)"

step "Build"
started=$SECONDS
# On a terminal cargo shows how far it is. A log gets a line a minute, and not one for each crate.
if [ -t 2 ]; then
    scripts/release-build.sh
else
    scripts/release-build.sh 2>&1 | one_a_minute >&2
fi
done_line "the provider, the PKCS#11 module, akv, the emulator" "$((SECONDS - started)) s"

step "A Managed HSM on this machine"
folder=$(mktemp -d)
echo "Keys stay in the HSM." >"$folder/message.txt"
start_emulator "$built/managed-hsm-emulator" "$folder"
done_line "emulator started" "$AZURE_MANAGEDHSM_URL"
timed create_key quickstart-rsa '{"kty":"RSA-HSM","key_size":3072}'
done_line "RSA-3072 key managedhsm:MyHSM:quickstart-rsa" "$took"
timed create_key quickstart-ec '{"kty":"EC-HSM","crv":"P-256"}'
done_line "P-256 key    managedhsm:MyHSM:quickstart-ec" "$took"

step "Certificates and signatures with the RSA key"
use_key quickstart-rsa

step "Certificates and signatures with the EC key"
use_key quickstart-ec

step "TLS servers whose keys are in the HSM"
serve_with quickstart-rsa RSA
serve_with quickstart-ec EC

step "What the HSM was asked for"
done_line "signatures by the HSM" "$(grep -c 'method=POST path=/keys/.*/sign status=200' "$folder/requests.log")"
done_line "public keys read from the HSM" "$(grep -c 'method=GET path=/keys/.* status=200' "$folder/requests.log")"

stop_emulator
done_line "emulator stopped, files removed"

cat <<END

${bold}All of it works.${plain} How to go on:
  ./ubuntubuild.sh                                       install what was built
  export AZURE_CLI_ACCESS_TOKEN=\$(az account get-access-token --output tsv \\
      --query accessToken --resource https://managedhsm.azure.net)
  openssl req -new -provider akv_provider -provider default \\
      -key managedhsm:<your HSM>:<your key> -subj /CN=example.com
  README.md has more commands to paste, also for the emulator; docs/README.md leads to all documents.
END
