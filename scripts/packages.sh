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

# Whether the cargo and the rustc that are found are of a version, or newer. Sets `lacking` to what is wrong with them if not.
has_rust() {
    local tool version
    for tool in cargo rustc; do
        if ! command -v "$tool" >/dev/null; then
            lacking="$tool was not found"
            return 1
        fi
        version=$("$tool" --version | sed -n "s/^$tool \([0-9][0-9.]*\).*/\1/p")
        if [ -z "$version" ]; then
            lacking="$(command -v "$tool") tells no version"
            return 1
        fi
        if [ "$(printf '%s\n' "$1" "$version" | sort --version-sort | head -n 1)" != "$1" ]; then
            lacking="$(command -v "$tool") is of version $version"
            return 1
        fi
    done
}

# Finds a Rust toolchain that is new enough, also where rustup puts it; says how to get it if there is none.
require_cargo() {
    local wanted lacking
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if has_rust "$wanted"; then
        return 0
    fi
    # A distribution's own may come first on PATH.
    if [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
        if has_rust "$wanted"; then
            return 0
        fi
    fi
    echo "$lacking: the Rust toolchain $wanted or newer is needed." >&2
    echo "Install it with the command that https://rustup.rs shows, then run this script again." >&2
    return 1
}
