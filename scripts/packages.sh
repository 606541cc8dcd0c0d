# shellcheck shell=bash
# Installs Debian packages that are missing, and checks for the Rust toolchain. Sourced, not run.

# Installs those of the named packages that are not installed. Needs root or sudo only if one is missing.
install_missing() {
    local package missing=() as_root=()
    for package; do
        if ! dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$'; then
            missing+=("$package")
        fi
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "These packages are missing: ${missing[*]}. Install them as root, or install sudo." >&2
            return 1
        fi
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq </dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

# Finds cargo, also where rustup puts it; says how to get it if it is absent.
require_cargo() {
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    if ! command -v cargo >/dev/null; then
        echo "cargo was not found: the Rust toolchain ($(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer) is needed." >&2
        echo "Install it with the command that https://rustup.rs shows, then run this script again." >&2
        return 1
    fi
}
