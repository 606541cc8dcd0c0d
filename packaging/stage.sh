#!/usr/bin/env bash
# Puts what packages have into a folder that stands for the root of a system.
#
#   packaging/stage.sh BUILT ROOT LIBRARIES
#
#   BUILT       the folder with what scripts/release-build.sh made: both modules, akv, managed-hsm-emulator
#   ROOT        the folder that stands for the root
#   LIBRARIES   where that system has its libraries: /usr/lib/x86_64-linux-gnu, /usr/lib64
set -euo pipefail
cd "$(dirname "$0")/.."
built=$1 root=$2 libraries=$3

# In a folder that is the user's own, so that nothing asks for root.
install -d "$root"
scripts/install.sh "$built" --root "$root" "$libraries"

install -D --mode=0644 packaging/files/managed-hsm-emulator.service "$root/usr/lib/systemd/system/managed-hsm-emulator.service"
for file in packaging/files/pkcs11/*; do
    install -D --mode=0644 "$file" "$root/usr/share/akv-pkcs11/${file##*/}"
done
install -D --mode=0644 packaging/files/akv_provider.cnf "$root/etc/akv/akv_provider.cnf"
# What the documents call deploy/: not in the documentation's folder, which images of containers leave out.
while IFS= read -r file; do
    mode=0644
    [ ! -x "$file" ] || mode=0755
    install -D --mode="$mode" "$file" "$root/usr/share/akv/$file"
done < <(find deploy -type f)

completions() {
    install -D --mode=0644 /dev/null "$root/usr/share/$2"
    "$built/akv" completions "$1" >"$root/usr/share/$2"
}
completions bash bash-completion/completions/akv
completions fish fish/vendor_completions.d/akv.fish
completions zsh zsh/vendor-completions/_akv
