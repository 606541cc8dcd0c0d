#!/usr/bin/env bash
# Builds the provider and akv, and installs them: the provider where OpenSSL looks for modules.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/packages.sh
. scripts/built.sh

usage() {
    cat <<'END'
Usage: ./ubuntubuild.sh [--debug] [--skip-deps] [--prefix DIR]

Builds akv_provider and akv, and installs them: akv_provider.so into OpenSSL's module folder (MODULESDIR), akv into /usr/local/bin.

  --debug       build without optimisation, with debug assertions
  --skip-deps   do not install Debian packages
  --prefix DIR  install both into DIR instead; DIR is made if absent, and no root is needed if it is yours
  --help        print this
END
}

profile=release
skip_deps=false
destination='' commands=/usr/local/bin
while [ "$#" -gt 0 ]; do
    case $1 in
        --debug) profile=debug ;;
        --skip-deps) skip_deps=true ;;
        --prefix)
            [ "$#" -ge 2 ] || { echo "--prefix needs a folder." >&2; exit 2; }
            destination=$2 commands=$2
            shift
            ;;
        --prefix=*) destination=${1#--prefix=} commands=${1#--prefix=} ;;
        --help | -h) usage; exit 0 ;;
        *)
            echo "Unknown option: $1" >&2
            usage >&2
            exit 2
            ;;
    esac
    shift
done

if ! $skip_deps; then
    install_missing build-essential pkg-config libssl-dev openssl ca-certificates
fi
require_cargo

if [ "$profile" = release ]; then
    scripts/release-build.sh akv_provider akv
    built="$shipped/release"
else
    cargo build --package akv
    # By itself, with its own features, and last: what is built together with others has theirs.
    cargo build --package akv_provider
    built="$target_dir/debug"
fi

if [ -z "$destination" ]; then
    command -v openssl >/dev/null || { echo "openssl was not found; install it, or give --prefix DIR." >&2; exit 1; }
    destination=$(openssl version -m | sed -n 's/^MODULESDIR: "\(.*\)"$/\1/p')
    [ -n "$destination" ] || { echo "openssl does not tell its MODULESDIR; give --prefix DIR." >&2; exit 1; }
fi

# Installs a file with a mode as another, as root if its folder, or the nearest one that exists, isn't ours to write to.
place() {
    local existing=$3 as_root=()
    while [ ! -e "$existing" ]; do
        existing=$(dirname "$existing")
    done
    [ -d "$existing" ] || existing=$(dirname "$existing")
    if [ ! -w "$existing" ]; then
        command -v sudo >/dev/null || { echo "$existing can't be written to; run this as root." >&2; exit 1; }
        as_root=(sudo)
    fi
    "${as_root[@]}" install -D --mode="$1" "$2" "$3"
    echo "Installed $3"
}

place 0644 "$built/libakv_provider.so" "$destination/akv_provider.so"
place 0755 "$built/akv" "$commands/akv"
if OPENSSL_MODULES="$destination" openssl list -providers -provider akv_provider -provider default >/dev/null; then
    echo "OpenSSL loads it: $(openssl version)"
else
    echo "OpenSSL does not load it." >&2
    exit 1
fi
