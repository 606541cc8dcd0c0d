# shellcheck shell=bash
# What the tests of programs share that reach keys by PKCS#11. Sourced after harness.sh, not run.
#
#   start_token [KEY…]        an emulator with the keys rsa, ec and ca, the module's configuration (a token `hsm`), and an openssl.cnf
#                             with libp11's engine, for `with_provider`; sets `engine_args`. It watches keys
#   watch_keys                has `finish` check that clients deleted no key, as no configuration here allows it, and that the HSM has
#                             the keys of `create_key` and those that were expected, none of them a session's
#   expects_keys NUMBER       clients make so many keys that stay, beside those expected before
#   sweeps NUMBER             sessions have left so many keys behind, and `akv pkcs11 sweep` takes just them away
#   performed KEY KIND BEFORE NUMBER   whether the HSM did so many operations of a kind with a key since there were BEFORE, which
#                             `operations KEY KIND` told; `encrypt`, `decrypt`
#   token_certificate NAME KEY [SUBJECT [EXTENSION]]   NAME.crt, by the CA `ca`; the token shows all of the folder `certificates`
#   needs_engine              ends the script as skipped, loudly, if libp11's engine isn't installed
#   token_home                a home whose p11-kit knows the module; in_token_home COMMAND… runs a program there, and so does
#                             launch LOG "${in_token_home[@]}" COMMAND…
#   token_uri KEY [TYPE]      the URI of a key, or of its certificate
#   token_uri_by_id NAME      the URI of the key that NAME.crt is for, by the id that both have, which is that of one version
#   provider_conf             an openssl.cnf with pkcs11-provider in the place of the engine
#   token_pem KEY             KEY.key, a key file for it that holds the key's URI

# shellcheck source=scripts/pkcs11_conf.sh
. scripts/pkcs11_conf.sh

engine_file=$(openssl version -e 2>/dev/null | sed 's/.*"\(.*\)"/\1/')/pkcs11.so
engine_args=(-engine pkcs11 -keyform engine)

needs_engine() {
    if [ ! -e "$engine_file" ]; then
        skip "${0##*/}" "libp11's engine is not installed (apt-get install libengine-pkcs11-openssl)"
        finish
    fi
}

token_label=hsm
token_uri() { echo "pkcs11:token=$token_label;object=$1;type=${2:-private}"; }
token_uri_by_id() {
    local id
    id=$(openssl x509 -in "$work/$1.crt" -noout -ext subjectKeyIdentifier | sed -n 's/^ *\([0-9A-F:]*\)$/%\1/p')
    echo "pkcs11:token=$token_label;id=${id//:/%};type=private"
}

start_token() {
    require_pkcs11_module || broken "The PKCS#11 module is needed."
    start_emulated_hsm
    watch_keys
    mkdir "$work/certificates"
    cat >"$work/mhsm-pkcs11.conf" <<END
{"tokens": [{"slotid": 0, "resourceName": "hsm", "endpoint": "$AZURE_MANAGEDHSM_URL", "certificates": ["$work/certificates"],
             "certificateDirectory": "$work/written"}]}
END
    export MHSM_PKCS11_CONF="$work/mhsm-pkcs11.conf"
    cp "$pkcs11_module" "$work/modules/akv_pkcs11.so"
    token_module="$work/modules/akv_pkcs11.so"
    installed_as openssl-engine.cnf "$token_module" >"$work/openssl.cnf"
    with_provider openssl req -new -x509 "${engine_args[@]}" -key "$(token_uri ca)" -sha256 -days 2 -subj "/CN=Test CA" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out "$work/ca.crt" ||
        broken "No CA could be made."
}

# How often the HSM did something with a key, by the emulator's log.
operations() { grep -c "method=POST path=/keys/$1/[0-9a-f]*/$2 status=200" "$requests"; }
has_operations() { [ "$(operations "$1" "$2")" -ge "$3" ]; }
performed() {
    local now
    wait_until 5 has_operations "$1" "$2" "$(($3 + $4))"
    now=$(operations "$1" "$2")
    [ "$now" -eq "$(($3 + $4))" ] || { echo "$((now - $3)) times $2 with $1 instead of $4"; return 1; }
}

sweeps() {
    local before
    require_programs akv || return 1
    before=$(deletions)
    left_behind || return 1
    [ "$(wc -l <"$work/left")" -eq "$1" ] || { echo "sessions have left, instead of $1:"; cat "$work/left"; return 1; }
    "$target/akv" pkcs11 sweep --older-than 0s --module "$token_module" || return 1
    swept=$((swept + $1))
    [ "$(deletions)" -eq "$((before + $1))" ] && left_behind && [ ! -s "$work/left" ]
}
swept=0
deletions() { grep -c 'method=DELETE path=/\(deleted\)\?keys/' "$requests"; }
# The keys that have a session's tag.
left_behind() {
    list keys >"$work/keys.json" || { cat "$work/keys.json"; return 1; }
    grep -o '"p11_session":"[^"]*"' "$work/keys.json" >"$work/left" || true
}

clients_keys=0
expects_keys() { clients_keys=$((clients_keys + $1)); }
# shellcheck disable=SC2034 # harness.sh reads it.
watch_keys() { last_checks["no key is left behind, and none is gone"]=keys_are_as_expected; }

# What the HSM has in a list, page by page: list keys|keys/NAME/versions. The script's own token may be gone.
list() {
    local page next="$AZURE_MANAGEDHSM_URL/$1?api-version=${AKV_API_VERSION:-7.4}" token
    token=$("$target/managed-hsm-emulator" token --data-dir "$work/private/hsm") || return 1
    while [ -n "$next" ]; do
        page=$(curl --silent --show-error --fail --max-time 60 --cacert "$AKV_CA_FILE" \
            --header "Authorization: Bearer $token" "$next") || { echo "$page"; return 1; }
        echo "$page"
        next=$(sed -n 's/.*"nextLink":"\([^"]*\)".*/\1/p' <<<"$page")
    done
}
keys_are_as_expected() {
    local gone made
    if [ "$(deletions)" -ne "$swept" ]; then
        grep method=DELETE "$requests"
        echo "a client deleted a key, which no configuration allowed"
        return 1
    fi
    left_behind || return 1
    grep -o '"kid":"[^"]*"' "$work/keys.json" | sed 's|.*/keys/\([^/"]*\).*|\1|' | sort >"$work/keys.there"
    printf '%s\n' "${created_keys[@]}" | sort >"$work/keys.made"
    gone=$(comm -13 "$work/keys.there" "$work/keys.made")
    made=$(comm -23 "$work/keys.there" "$work/keys.made")
    echo "gone: $gone; made by clients: $made"
    if [ -s "$work/left" ]; then
        cat "$work/left"
        echo "a session's key is left behind"
        return 1
    fi
    if [ -n "$gone" ] || [ "$(wc -w <<<"$made")" -ne "$clients_keys" ]; then
        echo "instead of $clients_keys made by clients, and none gone"
        return 1
    fi
}

token_certificate() {
    local name=$1 key=$2 subject=${3:-/CN=localhost}
    printf '%s\n' basicConstraints=CA:FALSE keyUsage=digitalSignature subjectKeyIdentifier=hash authorityKeyIdentifier=keyid \
        "${4:-subjectAltName=DNS:localhost,IP:127.0.0.1}" >"$work/$name.ext"
    if ! with_provider openssl req -new "${engine_args[@]}" -key "$(token_uri "$key")" -subj "$subject" -out "$work/$name.csr" ||
        ! with_provider openssl x509 -req -in "$work/$name.csr" -CA "$work/ca.crt" -engine pkcs11 -CAkeyform engine \
            -CAkey "$(token_uri ca)" -days 1 -extfile "$work/$name.ext" -out "$work/$name.crt" 2>"$work/$name.log"; then
        cat "$work/$name.log"
        broken "No certificate for $name."
    fi
    cp "$work/$name.crt" "$work/certificates/$name.pem"
}

provider_conf() {
    installed_as openssl-pkcs11-provider.cnf "$token_module" >"$work/openssl.cnf"
}

token_pem() { uri_pem "$(token_uri "$1")" "$work/$1" >"$work/$1.key"; }

# Root's programs look only where ubuntubuild.sh installs such a file, which they see here in a namespace of their own.
token_home() {
    mkdir -p "$work/home/.config/pkcs11/modules"
    echo "module: $token_module" >"$work/home/.config/pkcs11/modules/akv.module"
    if [ "$(id -u)" -eq 0 ]; then
        # shellcheck disable=SC2016
        in_token_home=(unshare --mount -- sh -c 'mount --bind "$0" /usr/share/p11-kit/modules && exec "$@"' "$work/home/.config/pkcs11/modules")
    else
        in_token_home=(env "HOME=$work/home" "XDG_CONFIG_HOME=$work/home/.config")
    fi
}
in_token_home() { "${in_token_home[@]}" "$@"; }
