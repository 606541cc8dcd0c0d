#!/usr/bin/env bash
# Chromium opens the page of nginx-example, whose CA it is told to trust, and takes a picture of it:
# target/applications/chromium.png.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs chromium chromium
needs certutil libnss3-tools
needs nginx nginx-light
chromium --version 2>/dev/null
pictures=${CARGO_TARGET_DIR:-$PWD/target}/applications
mkdir -p "$pictures"
work=$(mktemp -d)
export HOME=$work/home RUN_DIR=$work/run
mkdir -p "$HOME"
free_port RSA_PORT
free_port EC_PORT
free_port BOTH_PORT
export RSA_PORT EC_PORT BOTH_PORT
end_example() { nginx-example/stop-server.sh >/dev/null; }
trap 'end_example; clean_up' EXIT

check "setup-env.sh" nginx-example/setup-env.sh
check "generate-cert.sh" nginx-example/generate-cert.sh
check "start-server.sh" nginx-example/start-server.sh

# What a page looks like to somebody who opens it: browse OPTION… URL
browse() {
    timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking \
        --user-data-dir="$work/profile" --virtual-time-budget=5000 "$@" 2>>"$work/chromium.log"
}
refuses() {
    local page
    page=$(browse --dump-dom "https://localhost:$1/")
    if ! grep ERR_CERT_AUTHORITY_INVALID "$work/chromium.log" || grep "Hello from nginx" <<<"$page"; then
        tail -n 5 "$work/chromium.log"
        return 1
    fi
}
signatures_of() { grep -c "method=POST path=/keys/nginx-$1/[0-9a-f]*/sign status=200" "$RUN_DIR/requests.log"; }
opens() {
    local page before
    before=$(signatures_of "$2")
    page=$(browse --dump-dom "https://localhost:$1/")
    if ! grep -q "Hello from nginx" <<<"$page" || ! grep -q "<dd>TLSv1.3" <<<"$page"; then
        echo "$page"
        tail -n 5 "$work/chromium.log"
        return 1
    fi
    [ "$(signatures_of "$2")" -gt "$before" ] || { echo "the HSM did not sign"; return 1; }
}
picture() {
    rm -f "$pictures/chromium.png"
    browse --window-size=800,300 --screenshot="$pictures/chromium.png" "https://localhost:$RSA_PORT/"
    # A PNG with something in it.
    [ "$(head -c 4 "$pictures/chromium.png" | od -An -c | tr -d ' ')" = '211PNG' ] || return 1
    [ "$(stat -c %s "$pictures/chromium.png")" -gt 5000 ] || return 1
    echo "figures: $pictures/chromium.png"
}

check "without the CA: refused" refuses "$RSA_PORT"
mkdir -p "$HOME/.pki/nssdb"
certutil -d "sql:$HOME/.pki/nssdb" -N --empty-password
check "the CA is trusted" certutil -d "sql:$HOME/.pki/nssdb" -A -t C,, -n "Azure HSM Demo CA" -i "$RUN_DIR/ca.crt"
check "RSA: opened without a warning, by TLS 1.3" opens "$RSA_PORT" rsa
check "EC: opened without a warning, by TLS 1.3" opens "$EC_PORT" ec
check "a picture" picture
finish
