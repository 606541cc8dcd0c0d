#!/bin/sh
# Types the block of README's "On the emulator" as it stands, in a new folder, with the programs that are installed, and looks for what
# each of its steps says when it has worked. Prints how long it took.
#
#   scripts/readme-block.sh [README.md]
set -eu
readme=$(realpath "${1:-README.md}")
folder=$(mktemp -d)
began=$(date +%s)
status=0
cd "$folder"
HOME=$folder
export HOME
awk '/^### On the emulator/ { here = 1 } here && /^```$/ { exit } typing { print } here && /^```sh$/ { typing = 1 }' "$readme" >block
# Its own emulator is a job of the shell.
echo 'kill %1' >>block
bash -e -o pipefail block >output 2>&1 || status=$?
for words in "Name: managedhsm:MyHSM:myaeskey" "verify OK" "Verified OK" "The same text comes back." "The same key comes back." \
    "Signature Verified Successfully" "New, TLSv1.3"; do
    if ! grep -q -F "$words" output; then
        echo "README's block did not say: $words" >&2
        status=1
    fi
done
if [ "$status" -ne 0 ]; then
    cat output >&2
    echo "FAILED: README's block, status $status, in $folder" >&2
    exit "$status"
fi
rm -rf "$folder"
echo "README's block on the emulator took $(($(date +%s) - began)) s"
