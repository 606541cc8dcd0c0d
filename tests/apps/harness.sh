# shellcheck shell=bash
# What the tests of programs share: an emulator with keys, certificates, clients, and the count. Sourced, not run.
#
#   needs PROGRAM PACKAGE     ends the script as skipped, loudly, if the program isn't installed
#   needs_python FOLDER WHAT  sets `python` to one with what tests/apps/FOLDER/requirements.txt names; ends the script as skipped,
#                             loudly, if that can't be installed
#   start_hsm                 an emulator with the keys rsa, ec and ca; sets `work`, a folder that goes at the end
#   start_emulated_hsm        the same, without the provider and certificates
#   rotate KEY                gives a key of the HSM a new version
#   log_in                    has what is started later log in to the HSM as an application; its tokens live for a few seconds where
#                             emulator_options=("${short_lived[@]}") was set before the emulator started
#   certificate NAME KEY …    a certificate NAME.crt beside a key file NAME.key
#   check TITLE COMMAND…      one check: passed if the command succeeds, else what it printed is shown; shows its `figures` always
#   skip TITLE REASON         one that can't be tried
#   finish                    the checks of `last_checks`, the last line, "N passed, N failed, N skipped", and the exit status
#
# The variable KEEP, if it is set, keeps the folder, with logs and configurations.
# Programs run with `with_provider`, plain clients without. Nothing sleeps for a fixed time: wait_until has a deadline.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
# shellcheck disable=SC2034 # The scripts use it.
repository=$PWD
# shellcheck source=scripts/emulator.sh
. scripts/emulator.sh
# shellcheck source=scripts/built.sh
. scripts/built.sh
# Where Debian has servers, and where users often don't look.
PATH=$PATH:/usr/local/sbin:/usr/sbin

target=$profile_dir
passed=0 failed=0 skipped=0
work=
# Options of the emulator's `serve`.
emulator_options=()
# shellcheck disable=SC2034 # Scripts use it.
short_lived=(--token-lifetime 6)
key_file_options=()
# How many signatures a connection of the load takes.
load_signatures=1
# Functions that are checked when a script ends, each by its title.
declare -A last_checks=()
# What `started` noted, ended in reverse order.
processes=()

check() {
    local title=$1
    shift
    if "$@" >"$work/check.log" 2>&1; then
        passed=$((passed + 1))
        echo "ok       $title$(sed -n 's/^figures:/,/p' "$work/check.log" | tr -d '\n')"
    else
        failed=$((failed + 1))
        echo "FAILED   $title"
        sed 's/^/         | /' "$work/check.log" | tail -n 20
    fi
}

skip() {
    skipped=$((skipped + 1))
    echo "SKIPPED  $1: $2"
}

finish() {
    local title
    for title in "${!last_checks[@]}"; do
        check "$title" "${last_checks[$title]}"
    done
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

needs() {
    if ! command -v "$1" >/dev/null; then
        skip "${0##*/}" "$1 is not installed (apt-get install $2)"
        finish
    fi
}

needs_python() {
    local place requirements="tests/apps/$1/requirements.txt"
    needs python3 python3-venv
    place=$(cd "${target%/*}" && pwd)/$1
    python=$place/bin/python
    cmp -s "$requirements" "$place/installed" && return
    rm -rf "$place"
    if ! python3 -m venv "$place" >/dev/null 2>&1 || ! "$python" -m pip install --quiet --requirement "$requirements" >/dev/null 2>&1; then
        skip "$2" "it can't be installed here"
        finish
    fi
    cp "$requirements" "$place/installed"
}

# Ends the script: a step of the preparation failed.
broken() {
    echo "$*" >&2
    failed=$((failed + 1))
    finish
}

# Waits until a command succeeds: wait_until SECONDS COMMAND…
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# --- processes and ports ----------------------------------------------------------------------------------------------

is_gone() { ! kill -0 "$1" 2>/dev/null || grep -qs '^State:.Z' "/proc/$1/status"; }

# Ends a process: end_process PID [SIGNAL]. One that doesn't within 10 seconds is killed, which is a failure.
end_process() {
    kill "-${2:-TERM}" "$1" 2>/dev/null || return 0
    if ! wait_until 10 is_gone "$1"; then
        kill -KILL "$1"
        return 1
    fi
}

# Notes a process that has to end with the script.
started() { processes+=("$1"); }

clean_up() {
    local i
    for ((i = ${#processes[@]} - 1; i >= 0; i--)); do
        end_process "${processes[i]}"
    done
    stop_emulator
    if [ -n "$work" ] && [ -n "${KEEP:-}" ]; then
        echo "kept: $work"
    elif [ -n "$work" ]; then
        rm -rf "$work"
    fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Ports that were given already: a program may not have opened its port yet.
declare -A given=()

# Sets a variable to a port that nobody listens to: free_port VARIABLE. Below the range that the system gives to clients.
free_port() {
    local candidate draws=1000 i
    for ((i = 0; i < draws; i++)); do
        candidate=$((10000 + RANDOM % 20000))
        if [ -z "${given[$candidate]:-}" ] && ! port_is_open "$candidate"; then
            given[$candidate]=1
            printf -v "$1" '%d' "$candidate"
            return
        fi
    done
    broken "No free port from 10000 to 29999 was found in $draws draws."
}

# --- the HSM ----------------------------------------------------------------------------------------------------------

start_emulated_hsm() {
    require_programs managed-hsm-emulator || broken "The emulator is needed."
    work=$(mktemp -d)
    # Servers give up root, and have to reach their files all the same.
    chmod 755 "$work"
    mkdir "$work/private" "$work/modules"
    chmod 700 "$work/private"
    start_emulator "$target/managed-hsm-emulator" "$work/private" "${emulator_options[@]}" || broken "The emulator did not start."
    install -m 644 "$AKV_CA_FILE" "$work/emulator-ca.pem"
    export AKV_CA_FILE="$work/emulator-ca.pem"
    requests=$work/private/requests.log
    create_key rsa '{"kty":"RSA-HSM","key_size":2048}' || broken "No key could be made."
    create_key ec '{"kty":"EC-HSM","crv":"P-256"}' || broken "No key could be made."
    create_key ca '{"kty":"EC-HSM","crv":"P-256"}' || broken "No key could be made."
    printf '%s\n' "Keys stay in the HSM." >"$work/message.txt"
}

start_hsm() {
    require_programs akv || broken "akv is needed."
    require_module || broken "The module is needed."
    start_emulated_hsm
    cp "$module" "$work/modules/akv_provider.so"
    "$target/akv" env --module "$work/modules/akv_provider.so" >"$work/openssl.cnf" || broken "No openssl.cnf could be made."
    with_provider openssl req -new -x509 -key managedhsm:MyHSM:ca -sha256 -days 2 -subj "/CN=Test CA" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out "$work/ca.crt" ||
        broken "No CA could be made."
    certificate rsa rsa
    certificate ec ec
    certificate client ec "/CN=client" extendedKeyUsage=clientAuth
}

# Scripts themselves go on with the token that they have.
log_in() {
    eval "$(grep 'export AZURE_' <<<"$emulator_identity")"
    export AZURE_TOKEN_CREDENTIALS=EnvironmentCredential
}
logins() { grep -c "path=/.*/oauth2/v2.0/token status=200" "$requests"; }
has_logins() { [ "$(logins)" -ge "$1" ]; }

restart_hsm() {
    kill -KILL "$emulator_pid"
    wait "$emulator_pid" 2>/dev/null
    "$target/managed-hsm-emulator" serve --data-dir "$work/private/hsm" --port "${AZURE_MANAGEDHSM_URL##*:}" "${emulator_options[@]}" \
        >>"$work/private/emulator.out" 2>>"$requests" &
    emulator_pid=$!
    "$target/managed-hsm-emulator" env --data-dir "$work/private/hsm" --wait 30 >/dev/null
}

# ask METHOD PATH BODY
ask() {
    curl --silent --show-error --fail-with-body --max-time 60 --cacert "$AKV_CA_FILE" --request "$1" --data "$3" --output /dev/null \
        --header "Authorization: Bearer $AZURE_CLI_ACCESS_TOKEN" --header 'Content-Type: application/json' \
        "$AZURE_MANAGEDHSM_URL$2?api-version=7.4"
}
# Without a policy an HSM rotates no key.
policy='{"lifetimeActions": [{"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P2Y"}}]}'
rotate() { ask PUT "/keys/$1/rotationpolicy" "$policy" && ask POST "/keys/$1/rotate" ''; }

# Starts a server in the background, with the provider; it ends with the script. Sets `pid`. launch LOG COMMAND…
launch() {
    local log=$1
    shift
    (OPENSSL_CONF="$work/openssl.cnf" exec "$@") >"$log" 2>&1 &
    pid=$!
    started "$pid"
}

with_provider() { OPENSSL_CONF="$work/openssl.cnf" "$@"; }

# NAME.crt and NAME.key, and NAME.pem with both: certificate NAME KEY [SUBJECT [EXTENSION]]
# A test that counts loads of keys sets key_file_options=(--uri-only): of a key file with its public key nobody asks the HSM.
certificate() {
    local name=$1 key=$2 subject=${3:-/CN=localhost}
    "$target/akv" key pem "${key_file_options[@]}" "managedhsm:MyHSM:$key" --out "$work/$name.key" || broken "No key file for $key."
    chmod 644 "$work/$name.key"
    printf '%s\n' basicConstraints=CA:FALSE keyUsage=digitalSignature \
        "${4:-subjectAltName=DNS:localhost,IP:127.0.0.1}" >"$work/$name.ext"
    if ! with_provider openssl req -new -key "$work/$name.key" -subj "$subject" -out "$work/$name.csr" ||
        ! with_provider openssl x509 -req -in "$work/$name.csr" -CA "$work/ca.crt" -CAkey managedhsm:MyHSM:ca -days 1 \
            -extfile "$work/$name.ext" -out "$work/$name.crt" 2>/dev/null; then
        broken "No certificate for $name."
    fi
    cat "$work/$name.crt" "$work/$name.key" >"$work/$name.pem"
}

# A software key and its certificate, of the same CA unless told otherwise: software_certificate NAME [CA_OPTION…]
software_certificate() {
    local name=$1
    shift
    openssl req -new -newkey rsa:2048 -noenc -keyout "$work/$name.key" -subj "/CN=$name" -out "$work/$name.csr" 2>/dev/null
    printf '%s\n' basicConstraints=CA:FALSE "subjectAltName=DNS:localhost,IP:127.0.0.1" >"$work/$name.ext"
    if [ "$#" -eq 0 ]; then
        with_provider openssl x509 -req -in "$work/$name.csr" -CA "$work/ca.crt" -CAkey managedhsm:MyHSM:ca -days 1 \
            -extfile "$work/$name.ext" -out "$work/$name.crt" 2>/dev/null
    else
        openssl x509 -req -in "$work/$name.csr" "$@" -days 1 -extfile "$work/$name.ext" -out "$work/$name.crt" 2>/dev/null
    fi
}

# How often the HSM signed with a key, by the emulator's log; with all keys without a name.
signatures() { grep -c "method=POST path=/keys/${1:-[a-z]*}/[0-9a-f]*/sign status=200" "$requests"; }
has_signatures() { [ "$(signatures "$1")" -ge "$2" ]; }

# Whether there were so many signatures with a key since there were BEFORE: signed KEY BEFORE NUMBER
signed() {
    local now
    wait_until 5 has_signatures "$1" "$(($2 + $3))"
    now=$(signatures "$1")
    [ "$now" -eq "$(($2 + $3))" ] || { echo "$((now - $2)) signatures with ${1:-all keys} instead of $3"; return 1; }
}

# How often a key was loaded.
loads() { grep -c "method=GET path=/keys/$1[/0-9a-f]* status=200" "$requests"; }

# --- clients ----------------------------------------------------------------------------------------------------------

# Plain OpenSSL, without the provider, that verifies the server.
client() {
    timeout 60 openssl s_client -servername localhost -CAfile "$work/ca.crt" -verify_return_error -verify_hostname localhost "$@"
}

# A full handshake that takes exactly one signature, of the kind that the client likes best:
# handshake PORT VERSION SIGNATURE_ALGORITHMS KEY [OPTION…]
handshake() {
    local port=$1 version=$2 sigalgs=$3 key=$4 before output kind
    shift 4
    before=$(signatures "$key")
    output=$(client -connect "127.0.0.1:$port" "-tls${version/./_}" -sigalgs "$sigalgs" "$@" </dev/null 2>&1)
    # Newer versions print the name that TLS 1.3 has for both together.
    case $sigalgs in
        RSA-PSS*) kind='RSA-PSS|rsa_pss_rsae_sha' ;;
        RSA*) kind='RSA$|rsa_pkcs1_sha' ;;
        *) kind='ECDSA|ecdsa_' ;;
    esac
    if ! grep -q "^New, TLSv$version, Cipher is" <<<"$output" || ! grep -q "^Verification: OK" <<<"$output" ||
        ! grep -Eq "^Peer signature type: ($kind)" <<<"$output"; then
        grep -v '^    ' <<<"$output" | tail -n 20
        return 1
    fi
    signed "$key" "$before" 1
}

# All that the keys can do in TLS: handshakes TITLE PORT KEY… [-- OPTION of s_client…]
handshakes() {
    local title=$1 port=$2 options=() key hash
    shift 2
    local keys=()
    while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
        keys+=("$1")
        shift
    done
    [ "$#" -eq 0 ] || options=("${@:2}")
    for key in "${keys[@]}"; do
        if [ "$key" = rsa ]; then
            for hash in SHA256 SHA384 SHA512; do
                # With PSS alone a client would find HAProxy without a certificate.
                check "$title: TLS 1.2, RSA, PKCS#1, $hash" handshake "$port" 1.2 "RSA+$hash" rsa "${options[@]}"
                check "$title: TLS 1.2, RSA, PSS, $hash" handshake "$port" 1.2 "RSA-PSS+$hash:RSA+$hash" rsa "${options[@]}"
                check "$title: TLS 1.3, RSA, PSS, $hash" handshake "$port" 1.3 "RSA-PSS+$hash:RSA+$hash" rsa "${options[@]}"
            done
        else
            check "$title: TLS 1.2, EC, SHA256" handshake "$port" 1.2 ECDSA+SHA256 ec "${options[@]}"
            check "$title: TLS 1.2, EC, SHA384" handshake "$port" 1.2 ECDSA+SHA384 ec "${options[@]}"
            check "$title: TLS 1.3, EC" handshake "$port" 1.3 ECDSA+SHA256 ec "${options[@]}"
        fi
    done
}

# A second connection with the session of the first: together one signature. resumption PORT VERSION [OPTION…]
resumption() {
    local port=$1 version=$2 before request
    shift 2
    request=$'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    before=$(signatures)
    client -connect "127.0.0.1:$port" "-tls${version/./_}" -sess_out "$work/session" -ign_eof "$@" <<<"$request" >"$work/first" 2>&1
    client -connect "127.0.0.1:$port" "-tls${version/./_}" -sess_in "$work/session" -ign_eof "$@" <<<"$request" >"$work/second" 2>&1
    grep -q '^New, ' "$work/first" || { cat "$work/first"; return 1; }
    grep -q '^Reused, ' "$work/second" || { cat "$work/second"; return 1; }
    signed "" "$before" 1
}

# Fetches a page by a full handshake.
page() { curl --silent --show-error --fail --max-time 30 --cacert "$work/ca.crt" "$@"; }
answers() { page "$1" >/dev/null 2>&1; }

# Waits until a server answers, and says what it logged if it doesn't: ready URL LOG
ready() {
    if ! wait_until 30 answers "$1"; then
        page "$1" || true
        tail -n 20 "$2"
        return 1
    fi
}

# NUMBER requests, 8 at a time, each by a handshake of its own that takes a signature: many URL NUMBER
many() {
    local before good
    before=$(signatures)
    good=$(seq "$2" | xargs -P 8 -I {} curl --silent --fail --max-time 60 --cacert "$work/ca.crt" --output /dev/null \
        --write-out '%{http_code}\n' "$1" | grep -c '^200$')
    [ "$good" -eq "$2" ] || { echo "$good of $2 requests were answered"; return 1; }
    signed "" "$before" "$2"
}

# Runs 3 clients, each with one connection after the other, until end_load: begin_load COMMAND…, which makes one connection.
begin_load() {
    local i
    rm -f "$work"/load.*
    loaders=()
    signatures_before_load=$(signatures)
    for i in 1 2 3; do
        (
            good=0 bad=0
            # The folder goes when the script ends before its load does.
            while [ -d "$work" ] && [ ! -e "$work/load.stop" ]; do
                if "$@" >"$work/load.out.$i" 2>&1; then
                    good=$((good + 1))
                else
                    bad=$((bad + 1))
                    cat "$work/load.out.$i" >>"$work/load.errors"
                fi
                echo "$good $bad" >"$work/load.$i"
            done
        ) &
        loaders+=("$!")
    done
}

load_count() { cat "$work"/load.[0-9] 2>/dev/null | awk -v field="$1" '{ sum += $field } END { print sum + 0 }'; }
load_reached() { [ "$(load_count 1)" -ge "$1" ]; }

# Waits for some more connections of the load: more_load NUMBER
more_load() {
    wait_until 60 load_reached "$(($(load_count 1) + $1))" || { echo "the load stands still"; cat "$work/load.errors"; return 1; }
}

# Ends the load. No connection may be lost, and each has to have taken so many signatures: end_load NUMBER|any
end_load() {
    touch "$work/load.stop"
    wait "${loaders[@]}"
    local good bad
    good=$(load_count 1) bad=$(load_count 2)
    echo "figures: $good connections, $bad lost"
    if [ "$good" -eq 0 ] || [ "$bad" -ne 0 ]; then
        head -n 5 "$work/load.errors"
        return 1
    fi
    [ "$1" = any ] || signed "" "$signatures_before_load" "$((good * $1))"
}

# Ends the HSM without a farewell, under load, and starts it again: no connection may be lost. hsm_restarts COMMAND…
hsm_restarts() {
    local i good=yes
    begin_load "$@"
    for i in 1 2 3; do
        more_load 10 || good=no
        restart_hsm || good=no
    done
    more_load 10 || good=no
    # A signature may be asked for twice, as the first answer was lost.
    end_load any && [ "$good" = yes ]
}

# Gives keys new versions, so often, under load: no connection may be lost, and each takes the signatures that it took before.
# rotations "KEY…" NUMBER COMMAND…
rotations() {
    local i key good=yes
    begin_load "${@:3}"
    for ((i = 0; i < $2; i++)); do
        more_load 10 || good=no
        for key in $1; do
            rotate "$key" || good=no
        done
    done
    more_load 10 || good=no
    end_load "$load_signatures" && [ "$good" = yes ]
}

# While so many tokens run out, under load, no connection may be lost: renewals NUMBER COMMAND…
renewals() {
    local good=yes before
    before=$(logins)
    begin_load "${@:2}"
    wait_until 60 has_logins "$((before + $1))" && more_load 10 || good=no
    echo "figures: $(($(logins) - before)) tokens"
    end_load any && [ "$good" = yes ]
}
