#!/usr/bin/env bash
# Java by SunPKCS11: keys with and without certificates, a TLS server and a TLS client, 64 threads that sign or make handshakes at once,
# what is left of keys of sessions, and Android packages by apksigner. keytool and jarsigner are tried among the module's own tests.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"
# shellcheck source=tests/apps/java.sh
. "$(dirname "$0")/java.sh"

needs_java
needs_engine
emulator_options=("${short_lived[@]}")
start_token
start_java
java -version 2>&1 | head -n 1
javac -d "$work" tests/apps/java/Token.java || broken "Token.java doesn't compile."
token() { java "${java_options[@]}" -cp "$work" Token "$@"; }

log_in
nothing() { [ -z "$(token list)" ]; }
check "without certificates: no key is seen" nothing
token_certificate rsa rsa
token_certificate ec ec
cp "$work/ca.crt" "$work/certificates/ca.pem"
sees() { token list | sort | tee "$work/list" && [ "$(tr '\n' ' ' <"$work/list")" = "ca ec rsa " ]; }
check "with certificates: the keys are seen" sees

by_threads() {
    local before
    before=$(signatures)
    [ "$(token threads 64 8)" = "512 good signatures" ] && signed "" "$before" 512
}
check "64 threads, 8 signatures each" by_threads

# All the while the HSM is killed and started, tokens are renewed, and its keys get new versions; each goes on with the one of its certificate.
# through_restarts RESULT EACH MODE OPTION…: with 64 threads
through_restarts() {
    local before tokens threads i good=yes
    before=$(signatures) tokens=$(logins)
    token "$3" 64 "$2" "${@:4}" >"$work/threads" 2>&1 &
    threads=$!
    for i in 1 2 3; do
        wait_until 60 has_signatures "" "$((before + i * 16 * $2))" && rotate rsa && rotate ec && restart_hsm || good=no
    done
    wait "$threads"
    tokens=$(($(logins) - tokens))
    echo "figures: $(tail -n 1 "$work/threads"), $tokens tokens"
    cat "$work/threads"
    [ "$(cat "$work/threads")" = "$1" ] && [ "$tokens" -ge 2 ] && [ "$good" = yes ]
}
check "64 threads, while the HSM restarts, tokens are renewed and keys rotate" through_restarts "2560 good signatures" 40 threads

# A client that its key's certificate is asked of: asks SERVER CLIENT VERSION
asks() {
    local server client
    server=$(signatures "$1") client=$(signatures "$2")
    token ask "$port" "$2" "$work/ca.crt" "$3" | tee "$work/said"
    grep -q "^$3, server CN=localhost" "$work/said" && grep -q '^CN=localhost' "$work/said" || return 1
    if [ "$1" = "$2" ]; then
        signed "$1" "$server" 2
    else
        signed "$1" "$server" 1 && signed "$2" "$client" 1
    fi
}
for key in rsa ec; do
    free_port port
    launch "$work/$key.log" java "${java_options[@]}" -cp "$work" Token serve "$port" "$key" "$work/ca.crt"
    check "server, $key: answers" ready "https://localhost:$port/" "$work/$key.log"
    java_handshakes "server, $key" "$port" "$key"
    check "server, $key: 24 requests, 8 at a time" many "https://localhost:$port/" 24
    for version in TLSv1.2 TLSv1.3; do
        check "client, rsa, at the server with $key, $version" asks "$key" rsa "$version"
        check "client, ec, at the server with $key, $version" asks "$key" ec "$version"
    done
    check "server, $key: the HSM restarts under load" hsm_restarts page "https://localhost:$port/"
    check "server, $key: tokens are renewed under load" renewals 3 page "https://localhost:$port/"
    check "server, $key: 64 clients at once, while the HSM restarts, tokens are renewed and keys rotate" \
        through_restarts "640 good handshakes" 10 handshakes "$port" "$work/ca.crt"
    check "server, $key: its key rotates under load" rotations "$key" 3 page "https://localhost:$port/"
    # A JVM ends by SIGTERM with status 143.
    check "server, $key: stops" end_process "$pid"
done

# --- what is left of keys of sessions ----------------------------------------------------------------------------------

# Java ends without C_Finalize, and frees the place of the initialisation vector before the HSM makes one.
gcm_refused() { token gcm | tee "$work/said" && grep CKR_MECHANISM_PARAM_INVALID "$work/said"; }
check "AES-GCM with 12 zero bytes: impossible" gcm_refused
check "its key is left behind, and akv pkcs11 sweep takes it away" sweeps 1
# keytool has its pair kept before its certificate is refused.
leaves_pair() {
    sed 's/"certificateDirectory": "[^"]*"/"label": "hsm"/' "$MHSM_PKCS11_CONF" >"$work/no-folder.conf"
    expects_keys 1
    ! MHSM_PKCS11_CONF="$work/no-folder.conf" keytool "-J${java_options[0]}" -genkeypair -alias made -dname CN=made -keyalg EC \
        -groupname secp256r1 -keystore NONE -storetype PKCS11 -storepass x >"$work/keytool.log" 2>&1
    cat "$work/keytool.log"
    # Its id is the alias.
    grep CKR_TOKEN_WRITE_PROTECTED "$work/keytool.log" && list keys | grep "\"p11_pri_CKA_ID\":\"$(printf made | od -An -tx1 | tr -d ' ')\""
}
check "keytool fails without certificateDirectory, and its pair stays" leaves_pair
check "it is none of a session's, which akv pkcs11 sweep would take away" sweeps 0

# --- Android packages -------------------------------------------------------------------------------------------------

# The manifest is text, which no telephone reads; nor does apksigner, as it is told the lowest version of Android.
signs_package() { # KEY SIGNATURES
    local before signed_file="$work/signed-$1.apk"
    before=$(signatures "$1")
    apksigner -J"${java_options[0]#-}" sign --ks NONE --ks-type PKCS11 --ks-pass pass:x --ks-key-alias "$1" --min-sdk-version 21 \
        --in "$work/program.apk" --out "$signed_file" || return 1
    signed "$1" "$before" "$2" || return 1
    apksigner verify --verbose --print-certs --min-sdk-version 21 "$signed_file" | tee "$work/verified"
    grep -q '^Verified using v1 scheme.*true' "$work/verified" && grep -q '^Verified using v2 scheme.*true' "$work/verified" &&
        grep -q '^Verified using v3 scheme.*true' "$work/verified" && grep -q 'certificate DN: CN=localhost' "$work/verified"
}
if command -v apksigner >/dev/null; then
    mkdir "$work/package"
    printf '%s\n' '<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.example.program"/>' \
        >"$work/package/AndroidManifest.xml"
    head -c 10000 /dev/urandom >"$work/package/classes.dex"
    jar --create --no-manifest --file "$work/program.apk" -C "$work/package" .
    check "apksigner: a package, rsa, v1, v2 and v3" signs_package rsa 3
    check "apksigner: a package, ec, v1, v2 and v3" signs_package ec 3
else
    skip "apksigner" "it is not installed (apt-get install apksigner)"
fi
finish
