#!/usr/bin/env bash
# Has nginx by the provider (4 workers, an RSA and an EC key), nginx by the PKCS#11 module and libp11's engine (2 workers), and a
# program with threads sign with keys in an emulator for a long time, while tokens live 20 seconds, keys rotate, both nginx reload, the
# emulator is killed and restarted, and answers and connections go wrong at random.
#
#   scripts/soak.sh [SECONDS] [--out FOLDER] [--seed NUMBER]
#
# SECONDS: 120 unless given. Writes samples.csv, events.csv, logs and soak.svg to FOLDER, target/soak unless given, and ends with
# status 1 if a handshake or a signature failed, or if memory, descriptors or threads grew. No failure is expected: restarts are shorter than
# a client's patience. Run after scripts/release-build.sh and `cargo build --workspace`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/built.sh
. scripts/pkcs11_conf.sh
PATH=$PATH:/usr/sbin

seconds=120 out=target/soak seed=()
while [ "$#" -gt 0 ]; do
    case $1 in
        --out | --seed)
            [ "$#" -ge 2 ] || { echo "$1 needs a value." >&2; exit 2; }
            if [ "$1" = --out ]; then out=$2; else seed=(--seed "$2"); fi
            shift
            ;;
        *[!0-9]* | '')
            echo "Unknown option: $1" >&2
            exit 2
            ;;
        *) seconds=$1 ;;
    esac
    shift
done

require_programs managed-hsm-emulator akv
require_module
require_pkcs11_module
engine=$(openssl version -e | sed 's/.*"\(.*\)"/\1/')/pkcs11.so
[ -e "$engine" ] || { echo "libp11's engine is not installed (apt-get install libengine-pkcs11-openssl)." >&2; exit 1; }
for program in nginx python3 cc; do
    command -v "$program" >/dev/null || { echo "$program is not installed." >&2; exit 1; }
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
folder=$(mktemp -d)
chmod 755 "$folder"
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    cp "$folder/nginx.log" "$folder/nginx-pkcs11.log" "$folder/signer.log" "$out" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT

# Nobody's own settings.
for name in $(compgen -e | grep -E '^(AZURE_|AKV_|IDENTITY_|OPENSSL_|MHSM_)' || true); do
    unset "$name"
done
mkdir "$folder/modules"
ln -s "$module" "$folder/modules/akv_provider.so"
export OPENSSL_MODULES="$folder/modules"
cc -std=gnu11 -g -O1 -o "$folder/keep_signing" tests/c/keep_signing.c -lssl -lcrypto -lpthread

installed_as openssl-engine.cnf "$pkcs11_module" >"$folder/engine.cnf"
status=0
python3 benches/soak.py --seconds "$seconds" --target "$profile_dir" --signer "$folder/keep_signing" --folder "$folder" --out "$out" \
    --engine-conf "$folder/engine.cnf" "${seed[@]}" || status=$?

python="$target_dir/bench-python"
if ! "$python/bin/python" -c 'import matplotlib' 2>/dev/null; then
    rm -rf "$python"
    if ! python3 -m venv "$python" || ! "$python/bin/pip" install --quiet --requirement benches/requirements.txt; then
        echo "SKIPPED: the plot: matplotlib can't be installed here; the figures are in $out"
        exit "$status"
    fi
fi
"$python/bin/python" benches/soak_plot.py "$out"
echo "The samples, events, logs and the plot are in $out"
exit "$status"
