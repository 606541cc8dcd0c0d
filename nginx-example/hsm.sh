# shellcheck shell=bash
# What the scripts of nginx-example and grpc-example share: settings, the provider, an HSM, certificates, nginx. Sourced, not
# run, after `here` (the example's folder) is set. Files that the scripts make lie in `run`, the folder run/ of the example.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
run=${RUN_DIR:-$here/run}
# Where Debian has servers, and where users often don't look.
PATH=$PATH:/usr/local/sbin:/usr/sbin

# .env.example has the defaults: what is set already stays. In containers there is no .env.
set -a
for settings in "$here/.env" "$here/.env.example"; do
    if [ -f "$settings" ] && { [ -z "${NO_ENV_FILE:-}" ] || [ "$settings" != "$here/.env" ]; }; then
        # shellcheck source=/dev/null
        . "$settings"
    fi
done
set +a
NGINX=${NGINX:-nginx}
# What keys are called by; the emulator answers to every name.
hsm=${HSM_NAME:-MyHSM}

fail() {
    echo "$*" >&2
    exit 1
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

uses_emulator() { [ -z "$HSM_NAME" ]; }

# --- programs ---------------------------------------------------------------------------------------------------------

# Sets `module` (the provider), `emulator` and `akv` to what was built in target/, and builds them if they are nowhere. With
# AKV_INSTALLED they are what is installed, as in a container.
find_programs() {
    if [ -n "${AKV_INSTALLED:-}" ]; then
        module=$(openssl version -m | cut -d'"' -f2)/akv_provider.so emulator=managed-hsm-emulator akv=akv
        return 0
    fi
    local target=${CARGO_TARGET_DIR:-$repository/target} folder
    module=$target/shipped/release/libakv_provider.so
    for folder in "$target/shipped/release" "$target/release" "$target/debug"; do
        if [ -n "${PROFILE:-}" ] && [ "${folder##*/}" != "$PROFILE" ]; then
            continue
        fi
        emulator=$folder/managed-hsm-emulator akv=$folder/akv
        if [ -f "$module" ] && [ -x "$emulator" ] && [ -x "$akv" ]; then
            return 0
        fi
    done
    (
        cd "$repository" || exit
        # shellcheck source=scripts/packages.sh
        . scripts/packages.sh
        require_cargo && scripts/release-build.sh akv_provider akv managed-hsm-emulator
    ) || fail "The build failed."
    emulator=$target/shipped/release/managed-hsm-emulator akv=$target/shipped/release/akv
}

require_programs() {
    local program
    for program; do
        command -v "$program" >/dev/null || fail "$program was not found: apt-get install $program"
    done
}

# --- the HSM ----------------------------------------------------------------------------------------------------------

# Writes run/openssl.cnf, which activates the provider, and makes an HSM ready: the one that .env names, or an emulator, which is
# started unless it runs.
connect_hsm() {
    find_programs
    # The emulator's keys and its owner's secret are in there.
    (umask 077 && mkdir -p "$run")
    if uses_emulator; then
        use_emulator
    fi
    # The provider's section comes last.
    {
        "$akv" env --module "$module" && printf 'log-level = info\nlog-file = %s\n' "$run/provider.log"
    } >"$run/openssl.cnf" || fail "akv env failed."
}

# Starts the emulator unless it runs. Its address, its CA and how to log in are in the environment afterwards.
use_emulator() {
    if ! emulator_runs; then
        (umask 077 && exec setsid "$emulator" serve --data-dir "$run/hsm" --token-lifetime 3600 \
            >"$run/emulator.log" 2>>"$run/requests.log" </dev/null) &
        echo "$!" >"$run/emulator.pid"
    fi
    local exports
    exports=$("$emulator" env --identity --data-dir "$run/hsm" --wait 30) || {
        tail -n 5 "$run/emulator.log" "$run/requests.log" >&2
        fail "The emulator did not start."
    }
    # What the caller's shell has for another HSM, or for another emulator, would come before this one's owner.
    unset AZURE_CLI_ACCESS_TOKEN AKV_TOKEN_FILE AKV_ENDPOINTS AZURE_KEYVAULT_URL AZURE_TOKEN_CREDENTIALS
    eval "$exports"
}

emulator_runs() {
    [ -f "$run/emulator.pid" ] && grep -qs '^managed-hsm-emu' "/proc/$(cat "$run/emulator.pid")/comm"
}

stop_emulator() {
    if emulator_runs; then
        end_process "$(cat "$run/emulator.pid")" TERM
        echo "The emulator is stopped."
    fi
    rm -f "$run/emulator.pid"
}

# Runs a command with the provider.
with_hsm() { OPENSSL_CONF="$run/openssl.cnf" "$@"; }

# Makes sure that a key is there: ensure_key NAME rsa|ec. The emulator gets it; nobody's HSM does without being asked.
ensure_key() {
    local name=$1 uri="managedhsm:$hsm:$1" options az
    case $2 in
        rsa) options=(-algorithm RSA -pkeyopt rsa_keygen_bits:3072) az="--kty RSA-HSM --size 3072" ;;
        ec) options=(-algorithm EC -pkeyopt ec_paramgen_curve:P-256) az="--kty EC-HSM --curve P-256" ;;
    esac
    if with_hsm openssl pkey -in "$uri" -pubout -out /dev/null 2>"$run/error"; then
        return 0
    elif uses_emulator; then
        with_hsm openssl genpkey -propquery provider=akv_provider "${options[@]}" -pkeyopt "uri:$uri" -out /dev/null
    else
        cat "$run/error" >&2
        fail "The key $name can't be loaded. If it isn't there: az keyvault key create --hsm-name $hsm --name $name $az --ops sign"
    fi
}

# How often the HSM signed with a key; by the emulator's log where there is one, by the provider's for Azure.
signatures_with() {
    if uses_emulator; then
        grep -c "method=POST path=/keys/$1/[0-9a-f]*/sign status=200" "$run/requests.log"
    else
        grep -c "sign with managedhsm:$hsm:$1?.* status=200" "$run/provider.log"
    fi
}

# --- certificates -----------------------------------------------------------------------------------------------------

# A key file, which holds the URI of the key's newest version: write_key_file KEY FILE. A rotation in the HSM then does no harm.
write_key_file() {
    rm -f "$2"
    "$akv" key pem "managedhsm:$hsm:$1" --out "$2"
}

uri_in() { openssl asn1parse -in "$1" | sed -n 's/.*UTF8STRING *://p'; }

# A self-signed CA: make_ca KEY_FILE NAME OUT
make_ca() {
    with_hsm openssl req -new -x509 -key "$1" -sha256 -days 365 -subj "/O=Azure HSM Demo/CN=$2" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out "$3"
}

# A certificate: make_certificate KEY_FILE SUBJECT EXTENSIONS CA_KEY_FILE CA OUT [OPTION OF openssl x509]…
# The request is signed with the key, the certificate with the CA's; both in the HSM.
make_certificate() {
    local key=$1 subject=$2 extensions=$3 ca_key=$4 ca=$5 out=$6
    shift 6
    [ "$#" -gt 0 ] || set -- -days 90
    with_hsm openssl req -new -key "$key" -sha256 -subj "$subject" -out "${out%.*}.csr"
    printf '%s\n' "basicConstraints = CA:FALSE" "keyUsage = digitalSignature" "$extensions" >"${out%.*}.ext"
    with_hsm openssl x509 -req -in "${out%.*}.csr" -CA "$ca" -CAkey "$ca_key" -CAcreateserial -sha256 "$@" \
        -extfile "${out%.*}.ext" -out "$out"
    rm -f "${out%.*}.csr" "${out%.*}.ext"
}

# --- nginx ------------------------------------------------------------------------------------------------------------

nginx_version() { "$NGINX" -v 2>&1 | sed -n 's|.*nginx/\([0-9.]*\).*|\1|p'; }

# How nginx is told a key: as `store:URI` from 1.29 on, by the key file before.
nginx_key() {
    local lowest
    lowest=$(printf '1.29.0\n%s\n' "$(nginx_version)" | sort --version-sort | head -n 1)
    if [ "$lowest" = 1.29.0 ]; then
        echo "store:$(uri_in "$1")"
    else
        echo "$1"
    fi
}

# Fills in @NAME@ in a template: fill_in TEMPLATE OUT NAME=VALUE…
fill_in() {
    local text pair
    text=$(<"$1")
    local out=$2
    shift 2
    for pair; do
        text=${text//"@${pair%%=*}@"/"${pair#*=}"}
    done
    printf '%s\n' "$text" >"$out"
}

# How the HSM is called to whoever sees a page of the server.
hsm_title() {
    if [ -n "${HSM_TITLE:-}" ]; then
        echo "$HSM_TITLE"
    elif uses_emulator; then
        echo "an emulated Azure Managed HSM"
    else
        echo "Azure Managed HSM"
    fi
}

# The configuration of nginx-example, with what .env names: write_nginx_configuration "USER DIRECTIVE"
write_nginx_configuration() {
    local rsa_key
    rsa_key=$(nginx_key "$run/rsa.key")
    key_form="key file"
    if [[ $rsa_key = store:* ]]; then
        key_form="store: URI"
    fi
    mkdir -p "$run/tmp"
    # shellcheck disable=SC2153,SC2154 # the script that sources this sets `here`, and .env the names
    fill_in "$here/locations.conf.in" "$run/locations.conf" "hsm_title=$(hsm_title)" "key_form=$key_form" "ca_name=$CA_KEY"
    # shellcheck disable=SC2153
    fill_in "$here/nginx.conf.in" "$run/nginx.conf" "run=$run" "user=$1" "listen=$LISTEN" \
        "rsa_name=$RSA_KEY" "ec_name=$EC_KEY" "rsa_port=$RSA_PORT" "ec_port=$EC_PORT" "both_port=$BOTH_PORT" \
        "rsa_key=$rsa_key" "ec_key=$(nginx_key "$run/ec.key")"
}

nginx_runs() { [ -f "$1" ] && grep -qs '^nginx' "/proc/$(cat "$1")/comm"; }

# Starts nginx with a configuration and an error log, which is shown if it doesn't start: start_nginx CONFIGURATION LOG
start_nginx() {
    if ! with_hsm "$NGINX" -p "$run" -e "$2" -c "$1"; then
        fail "nginx did not start."
    fi
}

# Lets nginx end what it has begun: stop_nginx PID_FILE
stop_nginx() {
    if nginx_runs "$1"; then
        end_process "$(cat "$1")" QUIT
    fi
    rm -f "$1"
}

# --- processes --------------------------------------------------------------------------------------------------------

is_gone() { ! kill -0 "$1" 2>/dev/null || grep -qs '^State:.Z' "/proc/$1/status"; }

# Ends a process: end_process PID SIGNAL. One that doesn't within 10 seconds is killed.
end_process() {
    kill "-$2" "$1" 2>/dev/null || return 0
    wait_until 10 is_gone "$1" || kill -KILL "$1"
}
