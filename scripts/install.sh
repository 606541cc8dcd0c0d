#!/usr/bin/env bash
# Installs what was built: the provider, the PKCS#11 module, akv and the emulator, with the names of the TLS Offload Library's files
# and tools.
#
#   scripts/install.sh BUILT [PREFIX]
#   scripts/install.sh BUILT --root ROOT LIBRARIES
#
#   BUILT     the folder with libakv_provider.so, libakv_pkcs11.so, akv and managed-hsm-emulator
#   PREFIX    the folder that gets all of it; without it each goes to where the system looks for such files:
#
#   akv_provider.so       OpenSSL's module folder (MODULESDIR)
#   akv_pkcs11.so         the folder pkcs11 beside that, where Debian has PKCS#11 modules
#   libmhsm-pkcs11.so     /usr/lib, a link
#   akv_pkcs11.module     /usr/share/p11-kit/modules
#   akv, mhsm_p11_*       /usr/local/bin, the latter are links
#   managed-hsm-emulator  /usr/local/bin
#   akv.1 and so on       /usr/local/share/man, or the folder man in PREFIX
#
#   ROOT      stands for the root of the system that a package is made for, which has commands and what belongs to them in /usr, and
#             libraries in LIBRARIES: /usr/lib/x86_64-linux-gnu
set -euo pipefail

built=$1
root=
if [ "${2:-}" = --root ]; then
    root=$3
    install -d "$root/usr/lib"
    providers=$root$4/ossl-modules modules=$root$4/pkcs11 libraries=$root/usr/lib
    descriptions=$root/usr/share/p11-kit/modules commands=$root/usr/bin manuals=$root/usr/share/man
elif [ "$#" -gt 1 ]; then
    providers=$2 modules=$2 libraries=$2 descriptions=$2 commands=$2 manuals=$2/man
else
    command -v openssl >/dev/null || { echo "openssl was not found; install it, or give --prefix DIR." >&2; exit 1; }
    providers=$(openssl version -m | sed -n 's/^MODULESDIR: "\(.*\)"$/\1/p')
    [ -n "$providers" ] || { echo "openssl does not tell its MODULESDIR; give --prefix DIR." >&2; exit 1; }
    modules=$(dirname "$providers")/pkcs11
    libraries=/usr/lib descriptions=/usr/share/p11-kit/modules commands=/usr/local/bin manuals=/usr/local/share/man
fi

# Runs a command that makes a file, as root if the file's folder, or the nearest one that exists, isn't ours to write to.
for_file() {
    local existing=$1 as_root=()
    shift
    while [ ! -e "$existing" ]; do
        existing=$(dirname "$existing")
    done
    [ -d "$existing" ] || existing=$(dirname "$existing")
    if [ ! -w "$existing" ]; then
        command -v sudo >/dev/null || { echo "$existing can't be written to; run this as root." >&2; exit 1; }
        as_root=(sudo)
    fi
    "${as_root[@]}" "$@"
}

# Installs a file with a mode as another.
place() {
    for_file "$3" install -D --mode="$1" "$2" "$3"
    echo "Installed $3"
}

# Makes a link to an installed file, unless something else has its name: the TLS Offload Library itself, say.
link() {
    local present
    present=$(readlink "$2" || true)
    if { [ -e "$2" ] || [ -L "$2" ]; } && [ "$(basename "$present")" != "$(basename "$1")" ]; then
        echo "Left alone $2, which is something else: use $1 in its place, or remove it and run this again."
        return
    fi
    for_file "$2" ln --symbolic --force --no-dereference --relative "$1" "$2"
    echo "Installed $2"
}

place 0644 "$built/libakv_provider.so" "$providers/akv_provider.so"
place 0644 "$built/libakv_pkcs11.so" "$modules/akv_pkcs11.so"
place 0755 "$built/akv" "$commands/akv"
place 0755 "$built/managed-hsm-emulator" "$commands/managed-hsm-emulator"
link "$modules/akv_pkcs11.so" "$libraries/libmhsm-pkcs11.so"
for tool in mhsm_p11_create_key mhsm_p11_list_keys mhsm_p11_validate_config_file; do
    link "$commands/akv" "$commands/$tool"
done
made=$(mktemp --directory)
trap 'rm -rf "$made"' EXIT
# In a package it lies where p11-kit looks for modules.
path=akv_pkcs11.so
[ -n "$root" ] || path=$(realpath "$modules/akv_pkcs11.so")
echo "module: $path" >"$made/akv_pkcs11.module"
place 0644 "$made/akv_pkcs11.module" "$descriptions/akv_pkcs11.module"
"$built/akv" man "$made/man"
"$built/managed-hsm-emulator" man "$made/man"
while IFS= read -r page; do
    place 0644 "$made/man/$page" "$manuals/$page" >/dev/null
done < <(cd "$made/man" && find . -type f -printf '%P\n')
echo "Installed the manual pages in $manuals: man akv, man akv_provider, man akv_pkcs11, man managed-hsm-emulator"
if [ -n "$root" ]; then
    exit
fi

if [ "$#" -gt 1 ]; then
    printf "To use it from there:  export PATH=%q:\"\$PATH\" OPENSSL_MODULES=%q\n" "$(realpath "$commands")" "$(realpath "$providers")"
fi
if OPENSSL_MODULES="$providers" openssl list -providers -provider akv_provider -provider default >/dev/null; then
    echo "OpenSSL loads it: $(openssl version)"
else
    echo "OpenSSL does not load it." >&2
    exit 1
fi
