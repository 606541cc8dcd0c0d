#!/usr/bin/env bash
# Builds the provider, the PKCS#11 module, akv and the emulator, and installs them where the system looks for such files.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/packages.sh
. scripts/built.sh

usage() {
    cat <<'END'
Usage: ./ubuntubuild.sh [--debug] [--skip-deps] [--prefix DIR]

Builds akv_provider, akv_pkcs11, akv and managed-hsm-emulator, and installs them: akv_provider.so into OpenSSL's module folder (MODULESDIR), akv_pkcs11.so
into the folder pkcs11 beside it, the two programs into /usr/local/bin; with them the names of the TLS Offload Library, which are links: /usr/lib/libmhsm-pkcs11.so and mhsm_p11_create_key,
mhsm_p11_list_keys, mhsm_p11_validate_config_file beside akv; and akv_pkcs11.module for p11-kit.

  --debug       build without optimisation, with debug assertions
  --skip-deps   do not install Debian packages
  --prefix DIR  install all into DIR instead; DIR is made if absent, and no root is needed if it is yours
  --help        print this
END
}

profile=release
skip_deps=false
prefix=()
while [ "$#" -gt 0 ]; do
    case $1 in
        --debug) profile=debug ;;
        --skip-deps) skip_deps=true ;;
        --prefix)
            [ "$#" -ge 2 ] || { echo "--prefix needs a folder." >&2; exit 2; }
            prefix=("$2")
            shift
            ;;
        --prefix=*) prefix=("${1#--prefix=}") ;;
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
    scripts/release-build.sh
    built="$shipped/release"
else
    cargo build --package akv --package managed-hsm-emulator
    # Each by itself, with its own features, and last: what is built together with others has theirs.
    cargo build --package akv-pkcs11
    cargo build --package akv_provider
    built="$target_dir/debug"
fi

scripts/install.sh "$built" "${prefix[@]}"
