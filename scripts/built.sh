# shellcheck shell=bash disable=SC2034
# Where what was built lies. Sourced, not run, in the folder of the repository.
#
#   target_dir        the target folder
#   shipped           the one of scripts/release-build.sh
#   module            the provider, as it is shipped
#   profile_dir       the folder of akv and managed-hsm-emulator: debug, unless PROFILE names another profile
#   require_module    fails, and says what to run, unless the module is there and not older than its sources
#   require_programs NAME…    the same for programs

target_dir="${CARGO_TARGET_DIR:-$PWD/target}"
case $target_dir in /*) ;; *) target_dir="$PWD/$target_dir" ;; esac
shipped="$target_dir/shipped"
module="$shipped/release/libakv_provider.so"
# As old as the start of the module's build.
module_stamp="$shipped/release/libakv_provider.began"
profile_dir="$target_dir/${PROFILE:-debug}"

require_module() {
    local newer
    if [ ! -f "$module" ] || [ ! -f "$module_stamp" ]; then
        echo "$module does not exist: run scripts/release-build.sh first." >&2
        return 1
    fi
    newer=$(find src build.rs Cargo.toml Cargo.lock crates/hsm-keys/src crates/hsm-keys/Cargo.toml \
        crates/hsm-module/src crates/hsm-module/Cargo.toml crates/managed-hsm/src crates/managed-hsm/Cargo.toml \
        scripts/release-build.sh \
        -type f -newer "$module_stamp" -print -quit)
    if [ -n "$newer" ]; then
        echo "$module is older than $newer: run scripts/release-build.sh first." >&2
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
