#!/usr/bin/env bash
# Node.js by pkcs11js, and graphene, which stands on it.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs node nodejs
needs npm npm
needs_engine
place=$(cd "${target%/*}" && pwd)/node
if ! cmp -s tests/apps/node/package.json "$place/package.json"; then
    rm -rf "$place"
    mkdir -p "$place"
    cp tests/apps/node/package.json "$place/"
    if ! (cd "$place" && npm install --silent --no-audit --no-fund </dev/null) >/dev/null 2>&1; then
        rm -rf "$place"
        skip "pkcs11js" "it can't be installed here (npm, a compiler and python3 are needed)"
        finish
    fi
fi
start_token
echo "Node.js $(node --version)"
cp tests/apps/node/token.js "$place/"
by_node() {
    local before
    before=$(signatures "[-a-z0-9]*")
    expects_keys 1
    node "$place/token.js" "$token_module" || return 1
    signed "[-a-z0-9]*" "$before" 4
}
check "pkcs11js and graphene: find, sign, verify, generate" by_node
finish
