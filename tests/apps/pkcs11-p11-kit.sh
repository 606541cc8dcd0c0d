#!/usr/bin/env bash
# p11-kit: the module by its proxy, and by p11-kit server for a client in other namespaces, which has neither network nor credential,
# configuration and module.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs p11-kit p11-kit
needs p11tool gnutls-bin
needs unshare util-linux
needs_engine
modules=$(pkg-config --variable=p11_module_path p11-kit-1 2>/dev/null || echo /usr/lib/x86_64-linux-gnu/pkcs11)
start_token
token_home
# By libp11's engine: p11-kit, and so GnuTLS, refuses to load its own proxy.
proxy="${modules%/pkcs11}/p11-kit-proxy.so"
signs_by_proxy() {
    local before
    before=$(signatures "$1")
    sed "s|^MODULE_PATH = .*|MODULE_PATH = $proxy|" "$work/openssl.cnf" >"$work/proxy.cnf"
    OPENSSL_CONF="$work/proxy.cnf" in_token_home openssl dgst "${engine_args[@]}" -sha256 -sign "$(token_uri "$1")" \
        -out "$work/signature" "$work/message.txt" || return 1
    signed "$1" "$before" 1
}
if [ -e "$proxy" ]; then
    for key in rsa ec; do
        check "p11-kit-proxy.so signs, $key" signs_by_proxy "$key"
    done
else
    skip "p11-kit-proxy.so" "it is not installed (apt-get install p11-kit-modules)"
fi
listed() { in_token_home p11-kit list-modules | grep -A 30 '^akv' | grep 'token: hsm'; }
check "p11-kit list-modules shows the token" listed

# OpenSC's tools have no installation of modules.
by_opensc() { in_token_home pkcs11-tool --module p11-kit-proxy.so "$@"; }
opensc_lists() { by_opensc -L | tee "$work/list" && grep "token label *: hsm" "$work/list"; }
opensc_signs() {
    local before uri
    before=$(signatures ec)
    # In the token's own words: %7D%C8…
    uri=$(in_token_home p11tool --only-urls --list-privkeys "pkcs11:token=hsm;object=ec")
    by_opensc --token-label hsm --sign -m ECDSA-SHA256 --id "$(sed 's/.*;id=\([^;]*\).*/\1/; s/%//g' <<<"$uri")" \
        --input-file "$work/message.txt" --output-file "$work/signature" || return 1
    signed ec "$before" 1
}
if ! command -v pkcs11-tool >/dev/null; then
    skip "pkcs11-tool by p11-kit-proxy.so" "it is not installed (apt-get install opensc)"
elif [ -e "$proxy" ]; then
    check "pkcs11-tool by p11-kit-proxy.so lists the token" opensc_lists
    check "pkcs11-tool by p11-kit-proxy.so signs" opensc_signs
fi

if [ ! -e "$modules/p11-kit-client.so" ]; then
    skip "p11-kit server" "p11-kit-client.so is not installed (apt-get install p11-kit-modules)"
    finish
fi
if ! unshare --map-root-user --net --mount true 2>/dev/null; then
    skip "p11-kit server" "no namespaces can be made here"
    finish
fi
socket="$work/private/p11-kit.socket"
# As the unit has it that the package installs.
read -ra server < <(installed_as akv-p11-kit-server.service "$token_module" | sed -n "s|/run/akv-p11-kit/socket|$socket|; s/^ExecStart=//p")
launch "$work/server.log" "${in_token_home[@]}" "${server[@]}"
# In namespaces of its own: no network, nothing of who may log in, and empty folders in the place of /tmp and of the one that has all of
# this test, but for the socket.
contained() {
    # shellcheck disable=SC2016 # the inner shell expands these
    env --ignore-environment PATH="$PATH" HOME=/nonexistent P11_KIT_SERVER_ADDRESS=unix:path=/mnt/socket \
        unshare --map-root-user --net --mount -- sh -euc '
            mount -t tmpfs none /mnt
            : >/mnt/socket
            mount --bind "$1" /mnt/socket
            mount -t tmpfs none "$2"
            mount -t tmpfs none /tmp
            shift 2
            exec "$@"' contained "$socket" "${work%/*}" "$@"
}
there() { wait_until 20 test -S "$socket" || { cat "$work/server.log"; return 1; }; }
check "p11-kit server starts" there
alone() { ! contained curl --silent --max-time 5 --insecure --output /dev/null "$AZURE_MANAGEDHSM_URL/keys/ec?api-version=7.4"; }
check "the client has no way to the HSM" alone
# Each is there outside.
unseen() {
    local file
    for file in "$MHSM_PKCS11_CONF" "$token_module" "$AKV_CA_FILE" "$work/private/hsm"; do
        if [ ! -e "$file" ] || ! contained test ! -e "$file"; then
            echo "$file"
            return 1
        fi
    done
    contained test -S /mnt/socket
}
check "the client sees neither the module nor its configuration" unseen
remote() {
    local before
    before=$(signatures "$1")
    contained p11tool --provider "$modules/p11-kit-client.so" --test-sign --batch "$(token_uri "$1")" || { cat "$work/server.log"; return 1; }
    signed "$1" "$before" 1
}
for key in rsa ec; do
    check "the client signs, $key" remote "$key"
done
finish
