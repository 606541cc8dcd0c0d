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

# The smallest program that has all headers: DOS, PE32+, one section.
python3 - program.exe <<'END'
import struct, sys
dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 240, 0x22)
optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 512, 0, 0, 0x1000, 0x1000)
optional += struct.pack("<QIIHHHHHHIIIIHHQQQQII", 0x140000000, 0x1000, 512, 6, 0, 0, 0, 6, 0, 0, 0x2000, 512, 0, 3, 0x8160,
                        0x100000, 0x1000, 0x100000, 0x1000, 0, 16) + bytes(128)
section = struct.pack("<8sIIIIIIHHI", b".text", 1, 0x1000, 512, 512, 0, 0, 0, 0, 0x60000020)
headers = (dos + coff + optional + section).ljust(512, b"\0")
open(sys.argv[1], "wb").write(headers + b"\xc3".ljust(512, b"\0"))
END
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
