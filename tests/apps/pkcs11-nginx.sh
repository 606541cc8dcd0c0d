#!/usr/bin/env bash
# nginx as users of the TLS Offload Library have it: keys made by mhsm_p11_create_key, that library's configuration file, libp11's
# engine, and both of its ways to grant access.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"
# shellcheck source=tests/apps/engine_nginx.sh
. "$(dirname "$0")/engine_nginx.sh"
# shellcheck source=tests/apps/nginx_proxy.sh
. "$(dirname "$0")/nginx_proxy.sh"

needs nginx nginx-light
needs_engine
require_programs akv || broken "akv is needed."
maker=33333333-0000-0000-0000-000000000001
server=33333333-0000-0000-0000-000000000002
principals=$(mktemp)
cat >"$principals" <<END
[{"client_id": "$maker", "object_id": "33333333-0000-0000-0000-000000000011", "client_secret": "secret-of-maker",
  "roles": [{"role": "Managed HSM Crypto User", "scope": "/keys"}]},
 {"client_id": "$server", "object_id": "33333333-0000-0000-0000-000000000012", "client_secret": "secret-of-server"}]
END
emulator_options=(--principals "$principals")
start_token
rm "$principals"
nginx -v

# nginx as a client: its own certificate towards a backend.
token_certificate rsa rsa
token_certificate client ec /CN=client extendedKeyUsage=clientAuth
free_port front
free_port back
{
    echo "daemon off; worker_processes 2; user root; pid $work/proxy.pid; error_log $work/proxy.log; events {}"
    proxying proxy "$front" "$back" "engine:pkcs11:$(token_uri rsa)" "engine:pkcs11:$(token_uri ec)"
} >"$work/proxy.conf"
launch "$work/proxy.out" nginx -p "$work" -e "$work/proxy.log" -c "$work/proxy.conf"
proxies "$front" "$back" "$work/proxy.log" ec
check "proxy_ssl_certificate_key: stops" end_process "$pid" QUIT

owner=$AZURE_CLI_ACCESS_TOKEN
unset AZURE_CLI_ACCESS_TOKEN
export AZURE_AUTHORITY_HOST=$AZURE_MANAGEDHSM_URL
ln -s "$target/akv" "$work/mhsm_p11_create_key"
# As that library's installation has it, but for the address.
cat >"$MHSM_PKCS11_CONF" <<END
{"tokens": [{"slotid": 1, "protocol": "https://", "uri": "managedhsm.azure.net", "resourceName": "hsm", "resourceType": "mhsm"}],
 "msi": {"identityMSI": false, "MSIClientID": ""},
 "options": {"DisableTLSAuthentication": false},
 "log": {"directory": "$work", "flags": {"SendToFile": false}},
 "ConnectionCache": {"Disable": false, "MaxConnections": 20}}
END

# makes LABEL OPTION…: sets `name`
makes() {
    local said
    expects_keys 1
    said=$(MHSM_CLIENT_ID=$maker MHSM_CLIENT_SECRET=secret-of-maker "$work/mhsm_p11_create_key" --module "$token_module" "${@:2}" \
        --label "$1") || return 1
    echo "$said"
    name=$(sed -n 's/^Key Name: //p' <<<"$said")
    [ -n "$name" ]
}
# as CLIENT COMMAND…: with libp11's engine, as an application that the environment tells; nginx keeps the environment of its workers.
as() {
    AZURE_CLIENT_ID=$1 AZURE_CLIENT_SECRET="secret-of-$([ "$1" = "$maker" ] && echo maker || echo server)" \
        AZURE_TENANT_ID=00000000-0000-0000-0000-000000000000 with_provider "${@:2}"
}
# certified LABEL
certified() {
    as "$maker" openssl req -new -x509 "${engine_args[@]}" -key "$(token_uri "$1")" -subj /CN=localhost -days 2 \
        -addext subjectAltName=DNS:localhost -out "$work/$1.crt"
}
# serves CLIENT LABEL NAME: one signature for each connection, before and after a reload
serves() {
    local before
    before=$(signatures "$3")
    nginx_serves "$work/$2.crt" "pkcs11:token=hsm;object=$2;type=private;pin-value=" as "$1" || return 1
    signed "$3" "$before" 4
}
# What the server's identity does with another key.
uses() { as "$1" openssl dgst "${engine_args[@]}" -sha256 -sign "$(token_uri "$2")" -out "$work/signature" "$work/message.txt"; }
refused() { ! uses "$1" "$2" 2>"$work/refused" && grep "HTTP 403" "$work/refused"; }

for options in "--RSA 4K" "--EC P-256"; do
    read -ra words <<<"$options"
    label=tls-${words[0]#--}
    check "permissive: mhsm_p11_create_key $options" makes "$label" "${words[@]}"
    check "permissive: a certificate, ${words[0]#--}" certified "$label"
    check "permissive: the identity that has made the key serves, ${words[0]#--}" serves "$maker" "$label" "$name"
done

# assign ROLE SCOPE ID
assign() {
    curl --silent --show-error --fail-with-body --cacert "$AKV_CA_FILE" --request PUT --header "Authorization: Bearer $owner" \
        --header "Content-Type: application/json" --output /dev/null --data \
        "{\"properties\": {\"roleDefinitionId\": \"Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/$1\",
          \"principalId\": \"33333333-0000-0000-0000-000000000012\"}}" \
        "$AZURE_MANAGEDHSM_URL$2/providers/Microsoft.Authorization/roleAssignments/$3?api-version=7.4"
}
reader=55555555-0000-0000-0000-000000000001
grants() {
    curl --silent --show-error --fail-with-body --cacert "$AKV_CA_FILE" --request PUT --header "Authorization: Bearer $owner" \
        --header "Content-Type: application/json" --output /dev/null --data \
        '{"properties": {"roleName": "TLS Library User Read Role", "type": "CustomRole", "assignableScopes": ["/"],
          "permissions": [{"actions": [], "notActions": [], "notDataActions": [],
                           "dataActions": ["Microsoft.KeyVault/managedHsm/keys/read/action"]}]}}' \
        "$AZURE_MANAGEDHSM_URL/providers/Microsoft.Authorization/roleDefinitions/$reader?api-version=7.4" &&
        assign "$reader" /keys 55555555-0000-0000-0000-000000000002 &&
        assign 21dbd100-6940-42c2-9190-5d6cb909625b "/keys/$1" 55555555-0000-0000-0000-000000000003
}
check "granular: nothing is granted yet" refused "$server" tls-EC
check "granular: mhsm_p11_create_key" makes web --RSA 2K
check "granular: a certificate" certified web
check "granular: read on all keys, use of one" grants "$name"
check "granular: another identity than the key's maker serves" serves "$server" web "$name"
check "granular: it can't use the others" refused "$server" tls-EC
finish
