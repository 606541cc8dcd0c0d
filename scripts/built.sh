# shellcheck shell=bash disable=SC2034
# Where what was built lies. Sourced, not run, in the folder of the repository.
#
#   target_dir        the target folder
#   shipped           the one of scripts/release-build.sh
#   module            the provider, as it is shipped
#   pkcs11_module     the PKCS#11 module, as it is shipped
#   profile_dir       the folder of akv and managed-hsm-emulator: debug, unless PROFILE names another profile
#   require_module    fails, and says what to run, unless the module is there and not older than its sources
#   require_pkcs11_module   the same for the PKCS#11 module
#   require_programs NAME…    the same for programs

target_dir="${CARGO_TARGET_DIR:-$PWD/target}"
case $target_dir in /*) ;; *) target_dir="$PWD/$target_dir" ;; esac
shipped="$target_dir/shipped"
module="$shipped/release/libakv_provider.so"
# As old as the start of the module's build.
module_stamp="$shipped/release/libakv_provider.began"
pkcs11_module="$shipped/release/libakv_pkcs11.so"
pkcs11_module_stamp="$shipped/release/libakv_pkcs11.began"
profile_dir="$target_dir/${PROFILE:-debug}"

require_module() {
    require_library "$module" "$module_stamp" "scripts/release-build.sh akv_provider" src build.rs
}

require_pkcs11_module() {
    require_library "$pkcs11_module" "$pkcs11_module_stamp" "scripts/release-build.sh akv-pkcs11" \
        crates/akv-pkcs11/src crates/akv-pkcs11/build.rs crates/akv-pkcs11/Cargo.toml
}

# A library, when its build began, what builds it, and its own sources; those of the crates below it are looked at as well.
require_library() {
    local file=$1 stamp=$2 build=$3 newer
    shift 3
    if [ ! -f "$file" ] || [ ! -f "$stamp" ]; then
        echo "$file does not exist: run $build first." >&2
        return 1
    fi
    newer=$(find "$@" Cargo.toml Cargo.lock .cargo/config.toml crates/hsm-keys/src crates/hsm-keys/Cargo.toml \
        crates/hsm-module/src crates/hsm-module/Cargo.toml crates/managed-hsm/src crates/managed-hsm/Cargo.toml \
        scripts/release-build.sh \
        -type f -newer "$stamp" -print -quit)
    if [ -n "$newer" ]; then
        echo "$file is older than $newer: run $build first." >&2
        return 1
    fi
}

require_programs() {
    local name newer
    for name; do
        if [ ! -x "$profile_dir/$name" ]; then
            echo "$profile_dir/$name does not exist: run 'cargo build --package $name' first." >&2
            return 1
        fi
        # Cargo says beside a program what it was built from.
        newer=$(sed 's/^[^:]*: //' "$profile_dir/$name.d" | tr ' ' '\n' | while read -r source; do
            if [ ! -e "$source" ] || [ "$source" -nt "$profile_dir/$name" ]; then
                echo "$source"
                break
            fi
        done)
        if [ -n "$newer" ]; then
            echo "$profile_dir/$name is older than $newer: run 'cargo build --package $name' first." >&2
            return 1
        fi
    done
}
