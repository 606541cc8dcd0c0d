#!/usr/bin/env bash
# osslsigncode by libp11's engine: Authenticode signatures of a PowerShell script and a Windows program.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs osslsigncode osslsigncode
needs python3 python3
needs_engine
start_token
osslsigncode --version 2>&1 | head -n 1
cd "$work" || exit
token_certificate code rsa "/CN=Code" extendedKeyUsage=codeSigning
token_certificate code-ec ec "/CN=Code" extendedKeyUsage=codeSigning
python3 "$repository/tests/apps/smallest_program.py" program.exe
printf 'Write-Output "keys in the HSM"\r\n' >script.ps1

# sign_file FILE CERTIFICATE KEY
sign_file() {
    local before out="signed-$2-$1"
    before=$(signatures "$3")
    osslsigncode sign -h sha256 -pkcs11engine "$engine_file" -pkcs11module "$token_module" -certs "$2.crt" -key "$(token_uri "$3")" \
        -in "$1" -out "$out" || return 1
    signed "$3" "$before" 1 || return 1
    osslsigncode verify -CAfile ca.crt -in "$out" && ! osslsigncode verify -CAfile code.crt -in "$out"
}
check "program, RSA" sign_file program.exe code rsa
check "program, EC" sign_file program.exe code-ec ec
check "script, RSA" sign_file script.ps1 code rsa
by_uri() {
    local before
    before=$(signatures rsa)
    osslsigncode sign -h sha256 -pkcs11engine "$engine_file" -pkcs11module "$token_module" -pkcs11cert "$(token_uri rsa cert)" \
        -key "$(token_uri rsa)" -in program.exe -out by-uri.exe || return 1
    signed rsa "$before" 1 && osslsigncode verify -CAfile ca.crt -in by-uri.exe
}
check "program, the certificate by its URI" by_uri
finish
