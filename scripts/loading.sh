#!/usr/bin/env bash
# How long nginx takes to load many keys, by key files with and without the public key and by software keys, how much CPU time, and
# what the HSM is asked for meanwhile. Prints a line of JSON for each, of the run in the middle. Then how long the first TLS handshakes
# take after a reload, with and without connections that are opened ahead, over a link of 20 ms there and back.
#
#   scripts/loading.sh [--keys N] [--latency MILLISECONDS] [--rounds N]
#
# The module is that of scripts/release-build.sh; akv and the emulator are those of PROFILE.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/emulator.sh
. scripts/built.sh
PATH=$PATH:/usr/sbin

keys=1000 latency=10 rounds=3
while [ "$#" -gt 0 ]; do
    [ "$#" -ge 2 ] || { echo "$1 needs a value." >&2; exit 2; }
    case $1 in
        --keys) keys=$2 ;;
        --latency) latency=$2 ;;
        --rounds) rounds=$2 ;;
        *) echo "Unknown option: $1" >&2; exit 2 ;;
    esac
    shift 2
done
command -v nginx >/dev/null || { echo "SKIPPED: nginx is not installed" >&2; exit 0; }
require_module
require_programs akv managed-hsm-emulator

folder=$(mktemp -d)
trap 'stop_emulator; rm -rf "$folder"' EXIT
mkdir "$folder/modules" "$folder/tmp"
ln -s "$module" "$folder/modules/akv_provider.so"
export OPENSSL_MODULES="$folder/modules"
start_emulator "$profile_dir/managed-hsm-emulator" "$folder" --latency-ms "$latency"
create_key ec '{"kty":"EC-HSM","crv":"P-256"}'
akv="$profile_dir/akv"
"$akv" env >"$folder/openssl.cnf"
"$akv" key pem managedhsm:MyHSM:ec --out "$folder/with.key"
version=$("$akv" --json key pem managedhsm:MyHSM:ec | sed -n 's/.*?version=\([0-9a-f]*\).*/\1/p')
"$akv" key pem --uri-only "managedhsm:MyHSM:ec?version=$version" --out "$folder/without.key"
"$akv" cert self-signed managedhsm:MyHSM:ec --subject CN=localhost --san DNS:localhost --out "$folder/hsm.crt"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
    -keyout "$folder/software.key" -out "$folder/software.crt" 2>/dev/null

# A server for each of so many files: each file is read and loaded by itself, whatever is in it.
configure() { # WAY CERTIFICATE
    local at
    mkdir -p "$folder/$1"
    {
        echo "pid $folder/nginx.pid; error_log $folder/nginx.log; events {} http { access_log off; server_names_hash_max_size 8192;"
        for at in client_body proxy fastcgi uwsgi scgi; do echo "${at}_temp_path $folder/tmp;"; done
        for at in $(seq "$keys"); do
            cp "$folder/$1.key" "$folder/$1/$at.key"
            echo "server { listen unix:$folder/socket ssl; server_name n$at.test; ssl_certificate $2; ssl_certificate_key $folder/$1/$at.key; }"
        done
        echo "}"
    } >"$folder/$1.conf"
}
configure with "$folder/hsm.crt"
configure without "$folder/hsm.crt"
configure software "$folder/software.crt"

requests() { grep -c ' path=/keys/' "$folder/requests.log" || true; }
# They take turns.
for _ in $(seq "$rounds"); do
    for way in software with without; do
        asked=$(requests)
        # Seconds, and seconds of CPU time for the user and for the system.
        TIMEFORMAT='%R %U %S'
        { time OPENSSL_CONF="$folder/openssl.cnf" nginx -t -q -p "$folder" -e "$folder/nginx.log" -c "$folder/$way.conf" 2>"$folder/nginx.out"; } \
            2>"$folder/time" || { cat "$folder/nginx.out" "$folder/nginx.log" >&2; exit 1; }
        echo "$(cat "$folder/time") $(($(requests) - asked))" >>"$folder/$way.times"
    done
done
for way in software with without; do
    sort -n "$folder/$way.times" | awk -v way="$way" -v keys="$keys" -v latency="$latency" '
        { ms[NR] = 1000 * $1; cpu[NR] = 1000 * ($2 + $3); requests = $4; middle = int((NR + 1) / 2) }
        END { printf "{\"way\": \"%s\", \"keys\": %d, \"latency_ms\": %d, \"ms\": %d, \"cpu_ms\": %d, \"requests\": %d}\n",
            way, keys, latency, ms[middle], cpu[middle], requests }'
done

cp "$folder/with.key" "$folder/ec.key"
unset AZURE_CLI_ACCESS_TOKEN
eval "$emulator_identity"
OPENSSL_CONF="$folder/openssl.cnf" scripts/first_handshakes.py "$folder" 20 "$rounds"
