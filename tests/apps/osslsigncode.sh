#!/usr/bin/env bash
# osslsigncode: Authenticode signatures of a Windows program and a PowerShell script.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs osslsigncode osslsigncode
needs python3 python3
start_hsm
osslsigncode --version 2>&1 | head -n 1
cd "$work" || exit
certificate code rsa "/CN=Code" extendedKeyUsage=codeSigning
certificate code-ec ec "/CN=Code" extendedKeyUsage=codeSigning

python3 "$repository/tests/apps/smallest_program.py" program.exe
printf 'Write-Output "keys in the HSM"\r\n' >script.ps1

# sign_file FILE CERTIFICATE KEY_FILE KEY
sign_file() {
    local before out="signed-$2-$1"
    before=$(signatures "$4")
    with_provider osslsigncode sign -h sha256 -certs "$2.crt" -key "$3" -in "$1" -out "$out" || return 1
    signed "$4" "$before" 1 || return 1
    osslsigncode verify -CAfile ca.crt -in "$out" && ! osslsigncode verify -CAfile rsa.crt -in "$out"
}
check "program, RSA" sign_file program.exe code code.key rsa
check "program, EC" sign_file program.exe code-ec code-ec.key ec
check "script, RSA" sign_file script.ps1 code code.key rsa
finish
