#!/usr/bin/env bash
# Clients of an HSM and of a vault that nobody here wrote, from their registries, against the emulator: Azure's libraries for
# Python and JavaScript from their first to their pre-release versions, the present ones with all tests of scripts/clients.sh,
# MongoDB's field-level encryption, encrypted blobs and full backups in Azurite, azure-keyvault-securitydomain, securesystemslib
# and Ansible. They meet the service's own names at port 443, in a network namespace, and nothing in them is changed. Run after
# `cargo build --workspace`. What can't be had here is skipped, with the reason.
#
#   scripts/other-clients.sh          all of them
#   scripts/other-clients.sh NAME…    some: python javascript suites pymongocrypt securesystemslib blobs securitydomain ansible
# shellcheck disable=SC2317 # the trap calls one function, and the names of clients the others
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/emulator.sh
. scripts/built.sh
. scripts/client_libraries.sh

hsm=fabrikam.managedhsm.azure.net
# Without keys until it gets the security domain of the other.
second_hsm=northwind.managedhsm.azure.net
vault=contoso.vault.azure.net
authority=login.microsoftonline.com
namespace_pid='' azurite_pid=''

stop_azurite() {
    [ -z "$azurite_pid" ] || { kill "$azurite_pid" && wait "$azurite_pid"; } 2>/dev/null
    azurite_pid=
}

clean_up() {
    stop_azurite
    stop_emulator
    [ -z "$namespace_pid" ] || kill "$namespace_pid"
    rm -rf "$folder"
}
trap clean_up EXIT

finish() {
    echo "other clients: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

# Runs a command with the emulator's environment, in its namespace.
as_client() {
    (
        eval "$emulator_identity"
        # Azure's own names lead here.
        unset AZURE_AUTHORITY_HOST
        export HSM_AT_443="https://$hsm"
        inside "$@"
    )
}

inside() { nsenter --target "$namespace_pid" --net --mount --wdns="$PWD" "$@"; }

# Adds to the counts what a run of tests says of itself: TITLE STATUS LOG TESTS SKIPPED_TESTS SKIPPED_TESTS_EXPECTED
count() {
    local title=$1 status=$2 log=$3 good=$(($4 - $5))
    if [ "$status" -ne 0 ] || [ "$good" -le 0 ] || [ "$5" -ne "$6" ]; then
        cat "$log"
        failed=$((failed + 1))
        echo "FAILED: $title: status $status, $5 tests of what this version doesn't have where $6 were expected"
        return
    fi
    passed=$((passed + good))
    echo "$title: $good tests passed, $5 are about what this version doesn't have"
}

# What the libraries are called, the file of their versions, the tests, and how many of these are about what they don't have.
python_client() {
    local title=$1 log="$folder/python.log" status
    python_libraries "$title" "$2" || return
    as_client "$place/bin/python" -W ignore "$tests/python/$3" </dev/null >"$log" 2>&1
    status=$?
    count "$title" "$status" "$log" "$(sed -n 's/^Ran \([0-9]*\) tests\{0,1\} .*/\1/p' "$log" | grep . || echo 0)" \
        "$(sed -n 's/^OK (skipped=\([0-9]*\))$/\1/p' "$log" | grep . || echo 0)" "${4:-0}"
}

# What the library is called, the folder of its versions, how many of the tests are about what it doesn't have, and the tests.
javascript_client() {
    local title=$1 log="$folder/javascript.log" status
    npm_packages "$title" "$2" || return
    cp "$tests"/javascript/*.js "$place/"
    as_client node --test --test-reporter=tap "$place/${4:-versions.test.js}" </dev/null >"$log" 2>&1
    status=$?
    count "$title" "$status" "$log" "$(sed -n 's/^# tests //p' "$log" | grep . || echo 0)" \
        "$(sed -n 's/^# skipped //p' "$log" | grep . || echo 0)" "$3"
}

# All versions between, with what the oldest has installed beside it, each in a folder of its own that Python looks into first.
python_versions() {
    local keys administration expected place requirements="$tests/python/requirements-oldest.txt"
    while read -r keys administration expected; do
        [ "$keys" != "#" ] || continue
        local title="azure-keyvault-keys $keys, -administration $administration"
        python_libraries "$title" "${requirements##*/}" || continue
        local library="$work/python-versions/$keys-$administration"
        if [ ! -e "$library/installed" ]; then
            rm -rf "$library"
            if ! "$place/bin/python" -m pip install --quiet --no-deps --target "$library" "azure-keyvault-keys==$keys" \
                "azure-keyvault-administration==$administration" </dev/null >"$folder/install.log" 2>&1; then
                tail -n 5 "$folder/install.log"
                skip "$title, because they can't be installed here"
                continue
            fi
            touch "$library/installed"
        fi
        PYTHONPATH=$library VERSIONS="$keys $administration" python_client "$title" "${requirements##*/}" test_versions.py "$expected"
    done <"$tests/python/versions.txt"
}

python() {
    VERSIONS="4.0.0 4.0.0" python_client "azure-keyvault-keys 4.0.0, -administration 4.0.0" requirements-oldest.txt test_versions.py 5
    python_versions
    VERSIONS="4.11.3 4.7.2" python_client "azure-keyvault-keys 4.11.3, -administration 4.7.2" requirements.txt test_versions.py
    VERSIONS="4.12.0b3 4.8.0b3" python_client "azure-keyvault-keys 4.12.0b3, -administration 4.8.0b3" requirements-preview.txt test_versions.py
}

javascript() {
    local version expected
    for version in 4.0.0 4.1.0 4.2.2 4.3.0 4.4.0 4.5.0 4.6.0 4.7.2 4.8.0 4.8.1-alpha.20240412.1 4.9.0; do
        case $version in
        4.0.* | 4.1.*) expected=4 ;;
        4.2.* | 4.3.*) expected=3 ;;
        *) expected=0 ;;
        esac
        local -x KEYVAULT_KEYS="keys-$version"
        javascript_client "@azure/keyvault-keys $version" javascript-versions "$expected"
    done
    unset KEYVAULT_KEYS
    javascript_client "@azure/keyvault-keys 4.10.2" javascript 0
}

# Which scripts/clients.sh runs with an HSM at a port of its own, where requests to the service's names are led.
suites() {
    python_client "azure-keyvault-keys 4.11.3, -administration 4.7.2, all tests" requirements.txt test_emulator.py
    javascript_client "@azure/keyvault-keys 4.10.2, all tests" javascript 0 emulator.test.js
}

pymongocrypt() { python_client "pymongocrypt 1.21.2" requirements-pymongocrypt.txt test_pymongocrypt.py; }
securesystemslib() { python_client "securesystemslib 1.6.0" requirements-securesystemslib.txt test_securesystemslib.py; }

blobs() {
    local title="azure-storage-blob 12.31.1, azure-keyvault-administration 4.7.2 with Azurite 3.35.0"
    local account=devstoreaccount1 deadline=$((SECONDS + 60))
    npm_packages "$title" azurite || return
    # Not by a function, whose process would be the shell's.
    nsenter --target "$namespace_pid" --net --mount node "$place/node_modules/.bin/azurite-blob" --location "$folder" --silent \
        --skipApiVersionCheck --disableTelemetry >"$folder/azurite.log" 2>&1 &
    azurite_pid=$!
    until inside bash -c '(exec 3<>/dev/tcp/127.0.0.1/10000)' 2>/dev/null; do
        if ! kill -0 "$azurite_pid" 2>/dev/null || [ "$SECONDS" -gt "$deadline" ]; then
            cat "$folder/azurite.log"
            failed=$((failed + 1))
            echo "FAILED: Azurite does not start"
            return
        fi
        sleep 0.2
    done
    # The account and its key are Azurite's, and known to all.
    local -x AZURITE_CONNECTION="DefaultEndpointsProtocol=http;AccountName=$account;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:10000/$account;"
    python_client "$title" requirements-blobs.txt test_blobs.py
    stop_azurite
}

securitydomain() { python_client "azure-keyvault-securitydomain 1.0.0b4" requirements-securitydomain.txt test_security_domain.py; }

# The collection alone, out of the package of all collections.
collection() {
    local version=12.3.0 collections="$work/ansible-collections" archive="$folder/ansible"
    export ANSIBLE_COLLECTIONS_PATH=$collections
    [ "$(cat "$collections/installed" 2>/dev/null)" != "$version" ] || return 0
    rm -rf "$collections"
    mkdir -p "$collections"
    "$place/bin/python" -m pip download --quiet --no-deps --dest "$archive" "ansible==$version" >"$folder/install.log" 2>&1 &&
        "$place/bin/python" - "$archive"/*.whl "$collections" <<'PYTHON' && echo "$version" >"$collections/installed"
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as archive:
    names = [name for name in archive.namelist() if name.startswith("ansible_collections/azure/azcollection/")]
    archive.extractall(sys.argv[2], names)
PYTHON
}

ansible() {
    local title="Ansible's azure.azcollection 3.12.0" service suffix log="$folder/ansible.log"
    python_libraries "$title" requirements-ansible.txt || return
    collection || { skip "$title, because the collection can't be had here"; return; }
    for service in "$hsm" "$vault"; do
        suffix=
        [ "$service" = "$vault" ] || suffix=-HSM
        # shellcheck disable=SC2016 # the shell within expands it
        if as_client bash -c 'export AZURE_SECRET=$AZURE_CLIENT_SECRET AZURE_TENANT=$AZURE_TENANT_ID
            export AZURE_SUBSCRIPTION_ID=00000000-0000-0000-0000-000000000001 ANSIBLE_HOME=$1 HOME=$1
            exec "$2/bin/ansible-playbook" -i localhost, -e "ansible_python_interpreter=$2/bin/python" -e "service=https://$3" \
                -e "suffix=$4" -e "prefix=by-ansible" "$5"' \
            bash "$folder" "$place" "$service" "$suffix" "$tests/ansible/keys.yml" </dev/null >"$log" 2>&1; then
            passed=$((passed + 1))
            echo "$title: the playbook passed with $service"
        else
            cat "$log"
            failed=$((failed + 1))
            echo "FAILED: $title with $service"
        fi
    done
}

# A namespace in which the names of the service lead to this machine, and the emulator in it.
start() {
    if ! unshare --net --mount true 2>/dev/null; then
        skip "all of them, because this machine allows no namespaces (unshare --net --mount)"
        finish
    fi
    echo "127.0.0.1 localhost $hsm $second_hsm $vault $authority login.microsoft.com" >"$folder/hosts"
    # shellcheck disable=SC2016 # the shell within expands it
    unshare --net --mount bash -euc 'ip link set lo up
        mount --bind "$1/hosts" /etc/hosts
        echo ready >"$1/namespace"
        exec sleep infinity' bash "$folder" &
    namespace_pid=$!
    until [ -s "$folder/namespace" ]; do
        kill -0 "$namespace_pid" 2>/dev/null || { echo "FAILED: no namespace" >&2; exit 1; }
        sleep 0.05
    done
    cat >"$folder/emulator" <<SCRIPT
#!/bin/sh
exec nsenter --target $namespace_pid --net --mount "$emulator" "\$@"
SCRIPT
    chmod +x "$folder/emulator"
    serve_emulator "$folder/emulator" "$folder" --port 443 --hsm "${hsm%%.*}" --hsm "${second_hsm%%.*}" --vault "${vault%%.*}" \
        --principals "$(principals_file)" --tls-server-name "$authority" --tls-server-name login.microsoft.com --control-port 0 || exit
    EMULATOR_CONTROL=$(sed -n 's/^control: //p' "$folder/emulator.out")
    export EMULATOR_CONTROL
}

start
[ $# -gt 0 ] || set -- python javascript suites pymongocrypt securesystemslib blobs securitydomain ansible
for client; do
    case $client in
    python | javascript | suites | pymongocrypt | securesystemslib | blobs | securitydomain | ansible) "$client" ;;
    *) echo "no client $client" >&2; exit 2 ;;
    esac
done
finish
