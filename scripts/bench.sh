#!/usr/bin/env bash
# Builds everything for speed, measures it against the emulator and writes a report with plots to a folder.
#
#   scripts/bench.sh [--out FOLDER] [--quick] [PART…]
#
# Parts: signatures, pkcs11, renewal, start, loading, cost, servers; all without any. --quick measures for a shorter time: for a look, not for figures.
# What can't be measured here (a server or valgrind is not installed) is skipped, with the reason. docs/performance.md explains the results.
# The parts pkcs11 and servers measure what is promised (benches/limits.py); exit status 1 if a limit is not held, 77 if that is
# uncertain of one.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
. scripts/emulator.sh
. scripts/built.sh
. scripts/roots.sh
. scripts/pkcs11_conf.sh
PATH=$PATH:/usr/sbin

out=target/bench quick=no parts=()
while [ "$#" -gt 0 ]; do
    case $1 in
        --out)
            [ "$#" -ge 2 ] || { echo "--out needs a folder." >&2; exit 2; }
            out=$2
            shift
            ;;
        --quick) quick=yes ;;
        signatures | pkcs11 | renewal | start | loading | cost | servers) parts+=("$1") ;;
        *)
            echo "Unknown option: $1" >&2
            exit 2
            ;;
    esac
    shift
done
[ "${#parts[@]}" -gt 0 ] || parts=(signatures pkcs11 renewal start loading cost servers)

require_cargo
scripts/release-build.sh akv_provider akv-pkcs11
cargo build --release --workspace </dev/null
cargo bench --no-run </dev/null
target="$target_dir/release"
mkdir -p "$out"
out=$(cd "$out" && pwd)
folder=$(mktemp -d)
chmod 755 "$folder"
server_pid=
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    stop_server
    stop_emulator
    rm -rf "$folder"
}
stop_server() {
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=
    fi
}
trap clean_up EXIT

skip() { echo "SKIPPED: $*" | tee -a "$out/skipped.txt"; }
has() { for part in "${parts[@]}"; do [ "$part" = "$1" ] && return 0; done; return 1; }
bench() { local name=$1; shift; cargo bench --quiet --bench "$name" -- "$@" </dev/null; }
# The program of a benchmark.
bench_program() {
    cargo bench --no-run --bench "$1" --message-format=json 2>/dev/null </dev/null |
        sed -n '/"kind":\["bench"\]/s/.*"executable":"\([^"]*\)".*/\1/p'
}
# What programs are run by: nothing, or what has them see the root of another suite.
around=()
# Debian 13, with nginx and an OpenSSL that knows ML-DSA, in the root that scripts/pkcs11.sh makes: sets `around`, or skips WHAT.
in_debian_13() {
    local root="$target_dir/pkcs11/trixie"
    if [ -n "$(root_obstacle)" ] || ! chroot "$root" true 2>/dev/null; then
        skip "$1: there is no root of Debian 13 (scripts/pkcs11.sh makes it)"
        return 1
    fi
    around=(with_mounts "$root" /proc /dev "$PWD" "$target_dir" "$folder" -- chroot "$root" env --chdir="$PWD")
}
median() { sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }
: >"$out/skipped.txt"
{
    date -u +"date: %F %H:%M UTC"
    echo "cores: $(nproc)"
    sed -n 's/^model name[^:]*: /processor: /p' /proc/cpuinfo | head -n 1
    echo "load before: $(cut -d' ' -f1 /proc/loadavg)"
    openssl version
    git log -1 --format='revision: %h %s' 2>/dev/null || true
} >"$out/machine.txt"
cat "$out/machine.txt"

export OPENSSL_MODULES="$folder/modules"
mkdir "$OPENSSL_MODULES"
ln -s "$module" "$OPENSSL_MODULES/akv_provider.so"
provider=(-provider akv_provider -provider default)

# An emulator that takes so many milliseconds longer: hsm MILLISECONDS [OPTION of serve]…
hsm() {
    local milliseconds=$1
    shift
    stop_emulator
    rm -rf "$folder/hsm"
    start_emulator "$target/managed-hsm-emulator" "$folder" --latency-ms "$milliseconds" "$@"
    create_key ec '{"kty":"EC-HSM","crv":"P-256"}'
    create_key rsa '{"kty":"RSA-HSM","key_size":2048}'
}

if has signatures; then
    echo "=== signatures: provider (callers drive connections), its I/O thread, PKCS#11 module," \
        "bare client, software"
    options=(--seconds 1 --rounds 5)
    [ "$quick" = no ] || options=(--seconds 0.5 --rounds 1 --latency "0,10")
    # As many connections as the bare client opens.
    export AKV_MAX_CONNECTIONS=64
    for key in ec rsa; do
        bench signatures --key "$key" "${options[@]}" --json "$out/signatures-$key.json"
    done
    # Without the ways by OpenSSL where that is older than 3.5.
    AKV_API_VERSION=2026-05-01-preview bench signatures --key ml-dsa "${options[@]}" --json "$out/signatures-ml-dsa.json"
fi

if has pkcs11; then
    echo "=== the PKCS#11 module: signatures, EC without the check that a bare client doesn't make, and many keys"
    options=(--seconds 1 --rounds 15 --latency "0,10") keys=2000
    if [ "$quick" = yes ]; then
        options=(--seconds 0.5 --rounds 1 --latency "0,10") keys=200
    fi
    export AKV_MAX_CONNECTIONS=64
    AKV_VERIFY_SIGNATURES=no bench signatures --key ec --ways "bare,provider,pkcs11" "${options[@]}" \
        --json "$out/signatures-ec-unchecked.json"
    bench signatures --key rsa --ways "bare,pkcs11" "${options[@]}" --json "$out/signatures-rsa-pkcs11.json"
    # By the provider too, where libcrypto knows such keys.
    in_debian_13 "ML-DSA by the provider" || true
    AKV_API_VERSION=2026-05-01-preview AKV_VERIFY_SIGNATURES=no "${around[@]}" "$(bench_program signatures)" --key ml-dsa \
        --ways "bare,provider,pkcs11" "${options[@]}" --json "$folder/ml-dsa.json"
    around=()
    cp "$folder/ml-dsa.json" "$out/signatures-ml-dsa-unchecked.json"
    bench pkcs11 --keys "$keys" --json "$out/pkcs11-keys.json"
    if command -v pkcs11-tool >/dev/null; then
        hsm 0
        echo "to be signed" >"$folder/message"
        echo '{"tokens":[{"slotid":0,"resourceName":"MyHSM","keys":["ec"]}]}' >"$folder/mhsm-pkcs11.conf"
        # What was asked before is not counted.
        asked=$(wc -l <"$folder/requests.log")
        MHSM_PKCS11_CONF="$folder/mhsm-pkcs11.conf" pkcs11-tool --module "$pkcs11_module" --sign --mechanism ECDSA-SHA256 \
            --label ec --input-file "$folder/message" --output-file "$folder/signature"
        tail -n "+$((asked + 1))" "$folder/requests.log" | sed -n 's/.* connection=\([0-9]*\) .*/\1/p' >"$folder/connections"
        printf '{"requests": %d, "connections": %d}\n' "$(wc -l <"$folder/connections")" \
            "$(sort -u "$folder/connections" | wc -l)" >"$out/pkcs11-cold.json"
    else
        skip "a cold signature by pkcs11-tool, which is not installed"
    fi
fi

if has renewal; then
    echo "=== renewal of tokens under load"
    seconds=120
    [ "$quick" = no ] || seconds=15
    bench renewal --seconds "$seconds" --json "$out/renewal.json"
fi

if has start; then
    echo "=== a command line, cold"
    hsm 0
    echo "to be signed" >"$folder/message"
    openssl ecparam -name prime256v1 -genkey -noout -out "$folder/software.pem"
    kid=$(curl --silent --cacert "$AKV_CA_FILE" --header "Authorization: Bearer $AZURE_CLI_ACCESS_TOKEN" \
        "$AZURE_MANAGEDHSM_URL/keys/ec?api-version=7.4" | sed 's/.*"kid":"\([^"]*\)".*/\1/')
    ask=(--silent --cacert "$AKV_CA_FILE" --header "Authorization: Bearer $AZURE_CLI_ACCESS_TOKEN" --output /dev/null)
    by_curl() {
        curl "${ask[@]}" "$AZURE_MANAGEDHSM_URL/keys/ec?api-version=7.4" --next "${ask[@]}" \
            --header 'Content-Type: application/json' \
            --data '{"alg":"ES256","value":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}' "$kid/sign?api-version=7.4"
    }
    by_provider() { openssl dgst -sha256 "${provider[@]}" -sign managedhsm:MyHSM:ec -out "$folder/signature" "$folder/message"; }
    by_software() { openssl dgst -sha256 -sign "$folder/software.pem" -out "$folder/signature" "$folder/message"; }
    # Milliseconds, the median of 21 runs that take turns with the others' runs.
    for _ in $(seq 21); do
        for way in curl provider software; do
            began=$(date +%s%N)
            "by_$way"
            echo "$((($(date +%s%N) - began) / 1000))" >>"$folder/start-$way"
        done
    done
    for way in curl provider software; do
        printf '%-10s %8.2f ms\n' "$way" "$(median <"$folder/start-$way" | awk '{ print $1 / 1000 }')"
        printf '{"way": "%s", "ms": %s}\n' "$way" "$(median <"$folder/start-$way" | awk '{ print $1 / 1000 }')"
    done | tee >(grep '^{' >"$out/start.json") | grep -v '^{'
fi

if has loading; then
    echo "=== nginx loads a thousand keys"
    options=(--rounds 5)
    [ "$quick" = no ] || options=(--rounds 1 --keys 100)
    PROFILE=release scripts/loading.sh "${options[@]}" | tee "$out/loading.json"
fi

if has cost; then
    echo "=== what a signature costs"
    hsm 0
    cc -std=gnu11 -O2 -o "$folder/sign_loop" tests/c/sign_loop.c -lssl -lcrypto -lpthread
    : >"$out/cost.json"
    count() { grep -c "$1" "$folder/requests.log" || true; }
    connections() { sed -n 's/.* connection=\([0-9]*\) .*/\1/p' "$folder/requests.log" | sort -u | wc -l; }
    for key in ec rsa; do
        requests=$(count "path=/keys/$key") opened=$(connections)
        "$folder/sign_loop" "managedhsm:MyHSM:$key" 1 1000 >/dev/null
        requests=$(($(count "path=/keys/$key") - requests)) opened=$(($(connections) - opened))
        # Resident memory after 100 and after 5,000 signatures, in KiB.
        memory=()
        for signatures in 100 5000; do
            memory+=("$(/usr/bin/env python3 -c '
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$folder/sign_loop" "managedhsm:MyHSM:$key" 1 "$signatures")")
        done
        instructions=null
        if command -v valgrind >/dev/null; then
            counted=()
            for signatures in 10 110; do
                valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$folder/callgrind" \
                    "$folder/sign_loop" "managedhsm:MyHSM:$key" 1 "$signatures" >/dev/null
                counted+=("$(sed -n 's/.*Collected *: *\([0-9]*\)/\1/p' "$folder/callgrind")")
            done
            instructions=$(((counted[1] - counted[0]) / 100))
        else
            skip "instructions per signature: valgrind is not installed"
        fi
        echo "$key: $requests requests and $opened connections for 1000 signatures; ${memory[0]} KiB after 100, ${memory[1]} KiB after 5000; $instructions instructions each"
        printf '{"key": "%s", "requests": %d, "connections": %d, "kib_100": %d, "kib_5000": %d, "instructions": %s}\n' \
            "$key" "$requests" "$opened" "${memory[0]}" "${memory[1]}" "$instructions" >>"$out/cost.json"
    done
fi

# --- servers ----------------------------------------------------------------------------------------------------------

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

until_it_listens() {
    for _ in $(seq 200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        sleep 0.05
    done
    echo "Nothing listens at port $1 after 10 seconds." >&2
    return 1
}

# By a client that sees what the server sees: shake NAME PORT OPTION of the benchmark…
shake() {
    local name=$1 port=$2
    shift 2
    "${around[@]}" "$handshakes" --connect "127.0.0.1:$port" "${load[@]}" "$@" --name "$name" --json "$folder/handshakes"
    cat "$folder/handshakes" >>"$out/servers.json"
    rm "$folder/handshakes"
}

run_nginx() { # NAME WORKERS KEY CERTIFICATE [OPTION of the benchmark]…
    local port name=$1 workers=$2 key=$3 certificate=$4
    shift 4
    port=$(free_port)
    cat >"$folder/nginx.conf" <<END
$(compgen -e | sed -n 's/^\(AZURE\|AKV\)_.*/env &;/p')
pid $folder/nginx.pid;
error_log $folder/nginx.log;
worker_processes $workers;
daemon off;
user root;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path $folder/tmp;
    proxy_temp_path $folder/tmp;
    fastcgi_temp_path $folder/tmp;
    uwsgi_temp_path $folder/tmp;
    scgi_temp_path $folder/tmp;
    server {
        listen 127.0.0.1:$port ssl;
        ssl_protocols TLSv1.3;
        ssl_certificate $certificate;
        ssl_certificate_key "$key";
        location / { return 200 "ok"; }
    }
}
END
    OPENSSL_CONF="$folder/openssl.cnf" "${around[@]}" nginx -p "$folder" -c "$folder/nginx.conf" -e "$folder/nginx.log" &
    server_pid=$!
    until_it_listens "$port" || { cat "$folder/nginx.log" >&2; return 1; }
    # Around it may be a shell.
    server_pid=$(cat "$folder/nginx.pid")
    shake "$name" "$port" --clients 32 "$@"
    stop_server
}

run_haproxy() { # NAME ASYNC KEY-AND-CERTIFICATE
    local port
    port=$(free_port)
    cat >"$folder/haproxy.cfg" <<END
global
    # Else HAProxy forbids itself to start threads, which asynchronous jobs need.
    insecure-fork-wanted
    nbthread 1
    maxconn 2000
    $2
defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 30s
frontend tls
    bind 127.0.0.1:$port ssl crt $3 ssl-min-ver TLSv1.3
    http-request return status 200
END
    OPENSSL_CONF="$folder/openssl.cnf" haproxy -db -f "$folder/haproxy.cfg" >"$folder/haproxy.log" 2>&1 &
    server_pid=$!
    until_it_listens "$port" || { cat "$folder/haproxy.log" >&2; return 1; }
    shake "$1" "$port" --clients 64
    stop_server
}

# nginx by the module, as often as by the provider before it: by_pkcs11 BY KEY, with the way's openssl.cnf on stdin.
by_pkcs11() {
    cat >"$folder/openssl.cnf"
    run_nginx "nginx, 4 workers, 10 ms, PKCS#11 by $1" 4 "$2" "$folder/ec.crt"
}

by_engine() {
    local engine
    engine=$(openssl version -e | sed 's/.*"\(.*\)"/\1/')/pkcs11.so
    [ -e "$engine" ] || { skip "nginx by libp11's engine, which is not installed"; return; }
    by_pkcs11 "libp11's engine" "engine:pkcs11:pkcs11:token=localhost;object=ec;type=private;pin-value=" \
        < <(installed_as openssl-engine.cnf "$pkcs11_module")
}

# It is in Debian 13, so nginx is that of the root that scripts/pkcs11.sh makes, by the provider too.
by_pkcs11_provider() {
    in_debian_13 "nginx by pkcs11-provider" || return 0
    "$target/akv" env --module "$module" >"$folder/openssl.cnf"
    run_nginx "nginx of Debian 13, 4 workers, 10 ms" 4 "$folder/ec.key" "$folder/ec.crt"
    uri_pem "pkcs11:token=localhost;object=ec;type=private" "$folder/uri" >"$folder/uri.key"
    # It lies where Debian puts it.
    around+=(--unset=OPENSSL_MODULES)
    by_pkcs11 pkcs11-provider "$folder/uri.key" \
        < <(installed_as openssl-pkcs11-provider.cnf "$pkcs11_module")
    around=()
}

# By a key of ML-DSA-65, which its client has to know as well.
by_ml_dsa() {
    in_debian_13 "nginx by ML-DSA" || return 0
    export AKV_API_VERSION=2026-05-01-preview
    create_key ml-dsa '{"kty":"AKP-HSM","alg":"ML-DSA-65"}' "$AKV_API_VERSION"
    "$target/akv" env --module "$module" >"$folder/openssl.cnf"
    "$target/akv" cert self-signed managedhsm:MyHSM:ml-dsa --subject CN=localhost --san DNS:localhost >"$folder/ml-dsa.crt"
    "$target/akv" key pem managedhsm:MyHSM:ml-dsa >"$folder/ml-dsa.key"
    run_nginx "nginx of Debian 13, 4 workers, 10 ms, ML-DSA-65" 4 "$folder/ml-dsa.key" "$folder/ml-dsa.crt"
    unset AKV_API_VERSION
    around=()
}

if has servers; then
    echo "=== TLS handshakes"
    handshakes=$(bench_program handshakes)
    : >"$out/servers.json"
    mkdir -p "$folder/tmp"
    load=(--seconds 4 --rounds 5)
    [ "$quick" = no ] || load=(--seconds 1 --rounds 1)
    # A worker of HAProxy asks for as many signatures at once as it has handshakes.
    export AKV_MAX_CONNECTIONS=64
    # An HSM with a latency in milliseconds and further options, and what leads servers to its key.
    server_hsm() {
        hsm "$@"
        "$target/akv" env >"$folder/openssl.cnf"
        "$target/akv" cert self-signed managedhsm:MyHSM:ec --subject CN=localhost --san DNS:localhost >"$folder/ec.crt"
        "$target/akv" key pem managedhsm:MyHSM:ec >"$folder/ec.key"
        cat "$folder/ec.crt" "$folder/ec.key" >"$folder/ec.pem"
    }
    if command -v nginx >/dev/null; then
        server_hsm 10
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
            -keyout "$folder/soft.key" -out "$folder/soft.crt" 2>/dev/null
        run_nginx "nginx, 1 worker, software" 1 "$folder/soft.key" "$folder/soft.crt"
        run_nginx "nginx, 1 worker, 10 ms" 1 "$folder/ec.key" "$folder/ec.crt"
        run_nginx "nginx, 4 workers, 10 ms" 4 "$folder/ec.key" "$folder/ec.crt"
        by_engine
        by_pkcs11_provider
        by_ml_dsa
        "$target/akv" env >"$folder/openssl.cnf"
        # At half of that, with and without trouble.
        half=$(sed -n 's/.*"per_second":\([0-9.]*\).*"nginx, 4 workers, 10 ms".*/\1/p' "$out/servers.json" | awk '{ print $1 / 2 }')
        run_nginx "nginx, at half the rate" 4 "$folder/ec.key" "$folder/ec.crt" --rate "$half"
        server_hsm 10 --fault throttled,operation=sign,share=0.05 --fault drop,operation=sign,share=0.05
        run_nginx "nginx, at half the rate, 429s and resets" 4 "$folder/ec.key" "$folder/ec.crt" --rate "$half"
    else
        skip "nginx is not installed"
    fi
    if command -v haproxy >/dev/null; then
        server_hsm 20
        run_haproxy "HAProxy, 20 ms" "" "$folder/ec.pem"
        run_haproxy "HAProxy, async, 20 ms" "ssl-mode-async" "$folder/ec.pem"
    else
        skip "HAProxy is not installed"
    fi
fi

# --- the report -------------------------------------------------------------------------------------------------------

status=0
rm -f "$out/limits.md"
if has pkcs11 || has servers; then
    echo "=== what is promised"
    python3 benches/limits.py "$out" || status=$?
fi

python="$target/../bench-python"
if ! "$python/bin/python" -c 'import matplotlib' 2>/dev/null; then
    rm -rf "$python"
    if ! python3 -m venv "$python" || ! "$python/bin/pip" install --quiet --requirement benches/requirements.txt; then
        skip "plots: matplotlib can't be installed here; the figures are in $out"
        exit "$status"
    fi
fi
"$python/bin/python" benches/report.py "$out"
echo "The report is in $out/report.md"
[ "$status" -eq 0 ] || exit "$status"
