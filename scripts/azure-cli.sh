#!/usr/bin/env bash
# Azure's command line (az), from PyPI, against the emulator: it logs in as a service principal and goes through its commands for
# keys, roles, settings, disaster recovery and the external key manager of a Managed HSM, and for keys of a vault. Run after `cargo build --workspace`. Skipped,
# with the reason, where it can't be had.
# shellcheck disable=SC2317 # the trap, check and refused call functions
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/emulator.sh
. scripts/built.sh
. scripts/client_libraries.sh

release=2.91.0
place="$target_dir/azure-cli"
az="$place/bin/az"

clean_up() {
    stop_emulator
    rm -rf "$folder"
}
trap clean_up EXIT

finish() {
    echo "azure-cli: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

give_up() {
    skip "$1"
    finish
}

install() {
    [ "$(cat "$place/installed" 2>/dev/null)" != "$release" ] || return 0
    command -v python3 >/dev/null || give_up "az, because python3 is not installed"
    rm -rf "$place"
    if ! python3 -m venv "$place" >"$folder/install.log" 2>&1 ||
        ! "$place/bin/python" -m pip install --quiet "azure-cli==$release" >>"$folder/install.log" 2>&1; then
        tail -n 5 "$folder/install.log"
        give_up "az, because it can't be installed here"
    fi
    echo "$release" >"$place/installed"
}

start() {
    serve_emulator "$emulator" "$folder" --principals "$(principals_file)" --hsm first --hsm second:0 --vault contoso --not-activated ||
        exit
    eval "$emulator_identity"
    second_hsm=$(sed -n 's/^second: //p' "$folder/emulator.out")
}

# Counts what a command prints, which has to be as expected.
check() {
    local what=$1 expected=$2 got
    shift 2
    if got=$("$@" 2>"$folder/errors" </dev/null) && [ "$got" = "$expected" ]; then
        passed=$((passed + 1))
        return
    fi
    echo "FAILED: $what: expected '$expected', got '$got'"
    cat "$folder/errors"
    failed=$((failed + 1))
}

# Counts a command that has to fail, with these words.
refused() {
    local what=$1 words=$2
    shift 2
    if ! "$@" >/dev/null 2>"$folder/errors" </dev/null && grep -qF -- "$words" "$folder/errors"; then
        passed=$((passed + 1))
        return
    fi
    echo "FAILED: $what: no '$words' in:"
    cat "$folder/errors"
    failed=$((failed + 1))
}

# The CLI makes the URL of an HSM, or of a vault, from its name and the cloud's suffix, which are here the emulator's host and a port.
at_service() { "$az" keyvault "$@" "${service[@]}" --output tsv; }
key() { at_service key "$@"; }
rotation_policy() { at_service key rotation-policy "$@"; }
role() { at_service role "$@"; }

# A cloud of the emulator, and who logs in to it; each principal has a folder of its own for what the CLI remembers.
log_in() {
    local who=$1 client=$2 secret=$3 url=$AZURE_MANAGEDHSM_URL
    export AZURE_CONFIG_DIR="$folder/$who"
    cat >"$folder/cloud.json" <<JSON
{
  "endpoints": {
    "activeDirectory": "$AZURE_AUTHORITY_HOST",
    "activeDirectoryResourceId": "https://managedhsm.azure.net",
    "activeDirectoryGraphResourceId": "$url",
    "microsoftGraphResourceId": "$url",
    "management": "$url",
    "resourceManager": "$url"
  },
  "suffixes": {"keyvaultDns": ":${AZURE_KEYVAULT_URL##*:}", "mhsmDns": ":${url##*:}", "storageEndpoint": "core.windows.net"}
}
JSON
    "$az" cloud register --name emulator --skip-endpoint-discovery --cloud-config "@$folder/cloud.json" &&
        "$az" cloud set --name emulator &&
        "$az" login --service-principal --username "$client" --password "$secret" --tenant "$AZURE_TENANT_ID" \
            --skip-subscription-discovery --output none
}

digest() { printf message | openssl dgst "-sha$1" -binary; }

# r and s, of equal length, as ASN.1.
as_asn1() {
    local hex
    hex=$(od -An -v -tx1 | tr -d ' \n')
    local half=$((${#hex} / 2))
    printf 'asn1=SEQUENCE:signature\n[signature]\nr=INTEGER:0x%s\ns=INTEGER:0x%s\n' "${hex:0:half}" "${hex:half}" >"$folder/asn1"
    openssl asn1parse -genconf "$folder/asn1" -noout -out /dev/stdout
}

# Whether openssl takes the signature in base64 for the message's, by the key in key.pem.
openssl_verifies() {
    local algorithm=$1 bits=$2 signature=$3 pss=()
    digest "$bits" >"$folder/digest"
    case $algorithm in
    ES*) base64 -d <<<"$signature" | as_asn1 >"$folder/signature" ;;
    *) base64 -d <<<"$signature" >"$folder/signature" ;;
    esac
    case $algorithm in PS*) pss=(-pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest) ;; esac
    openssl pkeyutl -verify -pubin -inkey "$folder/key.pem" -in "$folder/digest" -sigfile "$folder/signature" \
        -pkeyopt "digest:sha$bits" "${pss[@]}"
}

signs_and_verifies() {
    local name=$1 algorithm bits value signature
    shift
    rm -f "$folder/key.pem"
    check "$name: download" "" key download --name "$name" --file "$folder/key.pem"
    for algorithm in "$@"; do
        bits=${algorithm:2:3}
        value=$(digest "$bits" | base64 -w0)
        signature=$(key sign --name "$name" --algorithm "$algorithm" --digest "$value" --query signature)
        check "$name: verify $algorithm" true \
            key verify --name "$name" --algorithm "$algorithm" --digest "$value" --signature "$signature" --query isValid
        check "$name: openssl verifies $algorithm" "Signature Verified Successfully" \
            openssl_verifies "$algorithm" "$bits" "$signature"
    done
    value=$(printf another | openssl dgst "-sha$bits" -binary | base64 -w0)
    check "$name: another message" false \
        key verify --name "$name" --algorithm "$algorithm" --digest "$value" --signature "$signature" --query isValid
}

encrypts_and_decrypts() {
    local name=$1 algorithm sealed
    shift
    for algorithm in "$@"; do
        local more=() back=()
        case $algorithm in
        *GCM) more=(--aad 6161) ;;
        *CBC*) more=(--iv 000102030405060708090a0b0c0d0e0f) ;;
        esac
        sealed=$(key encrypt --name "$name" --algorithm "$algorithm" --data-type plaintext --value "sixteen letters!" "${more[@]}" \
            --query '[result, iv, tag]')
        local ciphertext='' iv='' tag=''
        { read -r ciphertext && read -r iv && read -r tag; } <<<"$sealed"
        case $algorithm in
        *GCM) back=(--aad 6161 --iv "$iv" --tag "$tag") ;;
        *CBC*) back=(--iv "$iv") ;;
        esac
        # The CLI shows what it decrypted as Python shows bytes.
        check "$name: decrypt $algorithm" "b'sixteen letters!'" \
            key decrypt --name "$name" --algorithm "$algorithm" --data-type plaintext --value "$ciphertext" "${back[@]}" --query result
    done
}

lives() {
    local name=$1 kid first second
    kid="$service_url/keys/$name"
    first=$(key show --name "$name" --query key.kid)
    check "$name: show by its id" "$first" "$az" keyvault key show --id "$first" --query key.kid --output tsv
    check "$name: list" "$name" key list --query "[?name=='$name'].name"
    check "$name: set-attributes" "$(printf 'False\tb')" \
        key set-attributes --name "$name" --enabled false --tags a=b --query '[[attributes.enabled, tags.a]]'
    check "$name: set-attributes again" true key set-attributes --name "$name" --enabled true --query attributes.enabled
    cat >"$folder/policy.json" <<'JSON'
{"lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Rotate"}}], "attributes": {"expiryTime": "P90D"}}
JSON
    check "$name: rotation-policy update" P90D \
        rotation_policy update --name "$name" --value "$folder/policy.json" --query expiresIn
    check "$name: rotation-policy show" P30D \
        rotation_policy show --name "$name" --query 'lifetimeActions[0].timeAfterCreate'
    second=$(key rotate --name "$name" --query key.kid)
    check "$name: list-versions" "$first"$'\n'"$second" key list-versions --name "$name" --query '[].kid'
    check "$name: backup" "" key backup --name "$name" --file "$folder/backup-$name"
    check "$name: delete" "$second" key delete --name "$name" --query key.kid
    refused "$name: show when deleted" "(KeyNotFound)" key show --name "$name"
    check "$name: list-deleted" "$kid" key list-deleted --query "[?name=='$name'].kid"
    check "$name: show-deleted" "$service_url/deletedkeys/$name" key show-deleted --name "$name" --query recoveryId
    check "$name: recover" "$second" key recover --name "$name" --query key.kid
    check "$name: show when recovered" "$second" key show --name "$name" --query key.kid
    check "$name: delete again" "$second" key delete --name "$name" --query key.kid
    check "$name: purge" "" key purge --name "$name"
    refused "$name: show-deleted when purged" "(KeyNotFound)" key show-deleted --name "$name"
    check "$name: restore" "$second" key restore --file "$folder/backup-$name" --query key.kid
}

attested() {
    local name=$1
    check "$name: get-attestation" "" key get-attestation --name "$name" --file "$folder/attestation-$name"
    check "$name: the attestation's file" 1 grep -c certificatePemFile "$folder/attestation-$name"
}

# Each command takes the CLI most of a second, so that only one key of each type goes through all of its life.
keys_of_every_type() {
    local size curve algorithm
    for size in 2048 3072 4096; do
        check "rsa-$size: create" RSA-HSM key create --name "rsa-$size" --kty RSA-HSM --size "$size" --query key.kty
    done
    signs_and_verifies rsa-2048 RS256 RS384 RS512 PS256 PS384 PS512
    encrypts_and_decrypts rsa-2048 RSA1_5 RSA-OAEP RSA-OAEP-256
    signs_and_verifies rsa-3072 PS384
    encrypts_and_decrypts rsa-3072 RSA-OAEP-256
    signs_and_verifies rsa-4096 RS512
    encrypts_and_decrypts rsa-4096 RSA-OAEP
    while read -r curve algorithm; do
        check "ec-$curve: create" "$curve" key create --name "ec-$curve" --kty EC-HSM --curve "$curve" --query key.crv
        signs_and_verifies "ec-$curve" "$algorithm"
    done <<'CURVES'
P-256 ES256
P-256K ES256K
P-384 ES384
P-521 ES512
CURVES
    for size in 128 192 256; do
        check "oct-$size: create" oct-HSM key create --name "oct-$size" --kty oct-HSM --size "$size" --query key.kty
        encrypts_and_decrypts "oct-$size" "A${size}GCM" "A${size}CBC"
    done
    # Not A256CBCPAD: the CLI's library makes up a key for it where the HSM keeps its own to itself.
    encrypts_and_decrypts oct-128 A128CBCPAD
    encrypts_and_decrypts oct-192 A192CBCPAD
    local name
    for name in rsa-2048 ec-P-256 oct-256; do
        lives "$name"
        attested "$name"
    done
}

imported_keys() {
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$folder/rsa.pem" 2>/dev/null
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out "$folder/ec.pem" 2>/dev/null
    local kind
    for kind in rsa ec; do
        check "import $kind" "${kind^^}-HSM" key import --name "imported-$kind" --pem-file "$folder/$kind.pem" --query key.kty
        rm -f "$folder/key.pem"
        check "download of the imported $kind" "" key download --name "imported-$kind" --file "$folder/key.pem"
        check "the public key of the imported $kind" "$(openssl pkey -in "$folder/$kind.pem" -pubout -outform DER | openssl dgst -sha256)" \
            openssl_digest "$folder/key.pem"
    done
}

# A key for an HSM's key exchange key, wrapped as another HSM would (CKM_RSA_AES_KEY_WRAP): transfer_blob KID PUBLIC_KEY FILE
transfer_blob() {
    openssl rand -out "$folder/ephemeral" 32
    local ciphertext
    ciphertext=$({
        openssl pkeyutl -encrypt -pubin -inkey "$2" -pkeyopt rsa_padding_mode:oaep -in "$folder/ephemeral"
        openssl enc -id-aes256-wrap-pad -K "$(od -An -v -tx1 "$folder/ephemeral" | tr -d ' \n')" -iv A65959A6 -in "$3"
    } | base64 -w0 | tr '+/' '-_' | tr -d '=')
    cat <<JSON
{
  "schema_version": "1.0.0",
  "header": {"kid": "$1", "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"},
  "ciphertext": "$ciphertext",
  "generator": "openssl"
}
JSON
}

# "Bring your own key".
transferred_keys() {
    local kid kind more
    check "create for key exchange" RSA-HSM key create --name exchange --kty RSA-HSM --size 2048 --ops import --query key.kty
    kid=$(key show --name exchange --query key.kid)
    check "download for key exchange" "" key download --name exchange --file "$folder/exchange-key.pem"
    for kind in rsa ec; do
        more=()
        [ "$kind" = rsa ] || more=(--curve P-384)
        openssl pkey -in "$folder/$kind.pem" -outform DER | openssl pkcs8 -topk8 -nocrypt -inform DER -outform DER -out "$folder/$kind.der"
        transfer_blob "$kid" "$folder/exchange-key.pem" "$folder/$kind.der" >"$folder/$kind.byok"
        check "import of a transferred $kind" "${kind^^}-HSM" \
            key import --name "transferred-$kind" --byok-file "$folder/$kind.byok" --kty "${kind^^}" "${more[@]}" --query key.kty
        rm -f "$folder/key.pem"
        check "download of the transferred $kind" "" key download --name "transferred-$kind" --file "$folder/key.pem"
        check "the public key of the transferred $kind" \
            "$(openssl pkey -in "$folder/$kind.pem" -pubout -outform DER | openssl dgst -sha256)" openssl_digest "$folder/key.pem"
    done
    openssl rand -out "$folder/secret" 32
    transfer_blob "$kid" "$folder/exchange-key.pem" "$folder/secret" >"$folder/secret.byok"
    check "import of a transferred AES key" oct-HSM \
        key import --name transferred-oct --byok-file "$folder/secret.byok" --kty oct --query key.kty
    encrypts_and_decrypts transferred-oct A256GCM
    refused "import of a transferred key of another curve" "key transfer blob" \
        key import --name transferred-ec --byok-file "$folder/ec.byok" --kty EC --curve P-256
}

openssl_digest() { openssl pkey -pubin -in "$1" -pubout -outform DER | openssl dgst -sha256; }

errors() {
    refused "create with a bad size" "Invalid key size: '64'" key create --name bad --kty oct-HSM --size 64
    refused "show of a key that is not there" "(KeyNotFound)" key show --name nothing
    check "create for verification only" P-256 \
        key create --name verifier --kty EC-HSM --curve P-256 --ops verify --query key.crv
    refused "sign with a key for verification" "(Forbidden)" \
        key sign --name verifier --algorithm ES256 --digest "$(digest 256 | base64 -w0)"
}

settings_and_randomness() {
    local setting=AllowKeyManagementOperationsThroughARM
    check "setting list" "$setting" at_service setting list --query '[].name'
    check "setting update" true at_service setting update --name "$setting" --value true --query value
    check "setting show" true at_service setting show --name "$setting" --query value
    check "setting update back" false at_service setting update --name "$setting" --value false --query value
    # 12 bytes are 16 letters of base64, which the CLI shows as b'…'.
    check "random" 19 letters_of key random --count 12 --query value
}

letters_of() { "$@" | tr -d '\n' | wc -c; }

roles() {
    local owner=$AZURE_CONFIG_DIR
    local crypto_user="Managed HSM Crypto User"
    check "role definition list" "$crypto_user" role definition list --query "[?roleName=='$crypto_user'].roleName"
    log_in user "$TEST_USER_CLIENT_ID" "$TEST_USER_SECRET" || return
    refused "sign without a role" "(AccessDenied)" \
        key sign --name rsa-2048 --algorithm RS256 --digest "$(digest 256 | base64 -w0)"
    AZURE_CONFIG_DIR=$owner
    check "role assignment create" "$(printf '%s\t/keys' "$TEST_USER_OBJECT_ID")" role assignment create --role "$crypto_user" --scope /keys \
        --assignee-object-id "$TEST_USER_OBJECT_ID" --assignee-principal-type ServicePrincipal --query '[[principalId, scope]]'
    check "role assignment list" "$crypto_user" role assignment list --scope /keys --query '[].roleName'
    AZURE_CONFIG_DIR="$folder/user"
    check "sign with a role" RS256 \
        key sign --name rsa-2048 --algorithm RS256 --digest "$(digest 256 | base64 -w0)" --query algorithm
    AZURE_CONFIG_DIR=$owner
    check "role assignment delete" "" \
        role assignment delete --role "$crypto_user" --scope /keys --assignee-object-id "$TEST_USER_OBJECT_ID" --query '[?false]'
    AZURE_CONFIG_DIR="$folder/user"
    refused "sign when the role is gone" "(AccessDenied)" \
        key sign --name rsa-2048 --algorithm RS256 --digest "$(digest 256 | base64 -w0)"
    AZURE_CONFIG_DIR=$owner
    cat >"$folder/role.json" <<'JSON'
{"roleName": "Reader", "description": "reads keys", "actions": [], "notActions": [],
 "dataActions": ["Microsoft.KeyVault/managedHsm/keys/read/action"], "notDataActions": []}
JSON
    check "role definition create" Reader role definition create --role-definition "@$folder/role.json" --query roleName
    local name
    name=$(role definition list --query "[?roleName=='Reader'].name")
    check "role definition show" Reader role definition show --name "$name" --query roleName
    check "role definition delete" "" role definition delete --name "$name"
    check "role definition list after that" "" role definition list --query "[?roleName=='Reader'].name"
}

# A new HSM is of use once its security domain is downloaded.
activation() {
    local number
    for number in 0 1 2; do
        openssl req -newkey rsa:2048 -nodes -keyout "$folder/$number.pem" -x509 -days 9 -out "$folder/$number.cer" -subj "/CN=$number" \
            2>/dev/null
    done
    refused "create before the activation" "not activated" key create --name early --kty EC-HSM
    check "security-domain download" Success at_service security-domain download --sd-wrapping-keys "$folder/0.cer" "$folder/1.cer" "$folder/2.cer" \
        --sd-quorum 2 --security-domain-file "$folder/domain.json" --query status
}

# The HSM's connection to a proxy of an external key manager, whose CA is here the emulator's.
external_key_manager() {
    local ca="$AKV_CA_FILE" encoded
    encoded=$(openssl x509 -in "$ca" -outform DER | openssl base64 -A)
    refused "ekm-connection show before there is one" "(EkmConnectionNotFound)" at_service ekm-connection show
    check "ekm-connection certificate show" "$encoded" at_service ekm-connection certificate show --query 'caCertificates[0]'
    check "ekm-connection create" "proxy.contoso.com:8443" at_service ekm-connection create --host proxy.contoso.com:8443 \
        --path-prefix /api/v1 --server-ca-certificate "$ca" --query host
    refused "ekm-connection create of a second one" "(Conflict)" at_service ekm-connection create --host other --server-ca-certificate "$ca"
    check "ekm-connection update" "proxy" at_service ekm-connection update --server-cn proxy --query serverSubjectCommonName
    check "ekm-connection show" "proxy.contoso.com:8443 /api/v1 proxy" at_service ekm-connection show \
        --query "join(' ', [host, pathPrefix, serverSubjectCommonName])"
    check "ekm-connection check" "managed-hsm-emulator" at_service ekm-connection check --query ekmVendor
    check "ekm-connection delete" "proxy.contoso.com:8443" at_service ekm-connection delete --query host
    refused "ekm-connection check of one that is deleted" "(EkmConnectionNotFound)" at_service ekm-connection check
}

# The second HSM takes the domain of the first and restores what that one backed up.
disaster_recovery() {
    local storage=(--storage-account-name contoso --blob-container-name backups --storage-container-SAS-token any)
    local other=(--id "$second_hsm") kid backup
    kid=$(key create --name recovered --kty EC-HSM --query key.kid)
    kid="$second_hsm/keys/${kid##*/keys/}"
    check "backup start" Succeeded at_service backup start "${storage[@]}" --query status
    backup=$(ls "$folder/hsm/blobs/contoso.blob.core.windows.net/backups")
    check "security-domain init-recovery" "" "$az" keyvault security-domain init-recovery "${other[@]}" --sd-exchange-key "$folder/exchange.pem"
    check "security-domain upload" Success "$az" keyvault security-domain upload "${other[@]}" --sd-file "$folder/domain.json" \
        --sd-exchange-key "$folder/exchange.pem" --sd-wrapping-keys "$folder/2.pem" "$folder/0.pem" --query status --output tsv
    check "restore start" "" "$az" keyvault restore start "${other[@]}" "${storage[@]}" --backup-folder "$backup"
    check "show of the restored key" "$kid" "$az" keyvault key show --id "$second_hsm/keys/recovered" --query key.kid --output tsv
    check "delete of the restored key" "$kid" "$az" keyvault key delete --id "$second_hsm/keys/recovered" --query key.kid --output tsv
    check "purge of the restored key" "" "$az" keyvault key purge --id "$second_hsm/deletedkeys/recovered"
    check "restore start of one key" "" \
        "$az" keyvault restore start "${other[@]}" "${storage[@]}" --backup-folder "$backup" --key-name recovered
    check "show of the key restored alone" "$kid" "$az" keyvault key show --id "$second_hsm/keys/recovered" --query key.kid --output tsv
}

# A vault has software keys and keys in an HSM.
keys_of_a_vault() {
    local service=(--vault-name localhost) service_url=$AZURE_KEYVAULT_URL kty
    for kty in RSA RSA-HSM; do
        check "vault, $kty: create" "$kty" key create --name "in-vault-$kty" --kty "$kty" --size 2048 --query key.kty
        signs_and_verifies "in-vault-$kty" RS256 PS512
        encrypts_and_decrypts "in-vault-$kty" RSA-OAEP-256
    done
    for kty in EC EC-HSM; do
        check "vault, $kty: create" "$kty" key create --name "in-vault-$kty" --kty "$kty" --curve P-384 --query key.kty
        signs_and_verifies "in-vault-$kty" ES384
    done
    lives in-vault-RSA-HSM
    lives in-vault-EC
    refused "vault: create of an AES key" "(BadParameter)" key create --name in-vault-oct --kty oct-HSM --size 256
    refused "vault: show of a key that is not there" "(KeyNotFound)" key show --name nothing
    check "vault: the HSM has none of its keys" "" "$az" keyvault key list --hsm-name localhost --query "[?starts_with(name, 'in-vault')].name" \
        --output tsv
}

install
start
service=(--hsm-name localhost) service_url=$AZURE_MANAGEDHSM_URL
export AZURE_CORE_COLLECT_TELEMETRY=false AZURE_CORE_INSTANCE_DISCOVERY=false AZURE_CORE_ONLY_SHOW_ERRORS=true
if ! log_in owner "$AZURE_CLIENT_ID" "$AZURE_CLIENT_SECRET"; then
    echo "FAILED: az does not log in"
    tail -n 3 "$folder/requests.log"
    failed=1
    finish
fi
activation
keys_of_every_type
imported_keys
transferred_keys
errors
settings_and_randomness
roles
disaster_recovery
external_key_manager
keys_of_a_vault
finish
