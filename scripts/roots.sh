# shellcheck shell=bash
# Other Debian suites, in folders of their own: made by mmdebstrap from the mirror in this machine's apt sources (AKV_DEBIAN_MIRROR names
# another). Sourced, not run.
#
#   root_obstacle                        prints why roots can't be made or entered here; nothing if they can
#   put_suite SUITE PLACE [PACKAGE,…] [ARCHITECTURE]    puts a suite into a folder or a file .tar; this machine's architecture, unless
#                                        another is named, whose programs run if the kernel knows qemu's (qemu-user-static)
#   make_root SUITE FOLDER PACKAGE,… [ARCHITECTURE]    the same, unless that is what the folder has already
#   with_mounts ROOT PLACE… -- COMMAND…  runs a command while the root shows these places at their usual paths

find_mirror() {
    if [ -n "${AKV_DEBIAN_MIRROR:-}" ]; then
        echo "$AKV_DEBIAN_MIRROR"
    elif [ -f /etc/apt/sources.list.d/debian.sources ]; then
        awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources
    elif [ -f /etc/apt/sources.list ]; then
        awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ "://") { print $i; exit } }' /etc/apt/sources.list
    fi
}

root_obstacle() {
    if ! command -v mmdebstrap >/dev/null; then
        echo "mmdebstrap is not installed (apt-get install mmdebstrap)"
    elif [ "$(id -u)" -ne 0 ]; then
        echo "roots are made and entered as root, or with user namespaces and newuidmap (apt-get install uidmap)"
    elif ! unshare --mount true 2>/dev/null; then
        echo "this machine allows no mount namespaces (unshare --mount)"
    elif [ -z "$(find_mirror)" ]; then
        echo "no Debian mirror in /etc/apt: name one by AKV_DEBIAN_MIRROR"
    fi
}

put_suite() {
    local suite=$1 place=$2 packages=${3:-} architecture=${4:-} mirror sources
    mirror=$(find_mirror)
    sources=("deb $mirror $suite main")
    if [ "$suite" = experimental ]; then
        sources+=("deb $mirror sid main")
        suite=sid
    fi
    # A suite that is years old, or a mirror that lags behind, may be past its Valid-Until.
    mmdebstrap --quiet --variant=minbase ${packages:+"--include=$packages"} ${architecture:+"--architectures=$architecture"} \
        --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$place" "${sources[@]}" </dev/null
}

make_root() {
    local suite=$1 root=$2 packages=$3 architecture=${4:-}
    if [ "$(cat "$root/packages" 2>/dev/null)" = "$packages" ] && chroot "$root" true 2>/dev/null; then
        return 0
    fi
    rm -rf "$root"
    mkdir -p "${root%/*}"
    put_suite "$suite" "$root" "$packages" "$architecture" || return
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    # Written last: a root that was not finished doesn't have it.
    echo "$packages" >"$root/packages"
}

# The mounts are seen by that command only, and end with it.
with_mounts() {
    # shellcheck disable=SC2016 # the inner shell expands these
    unshare --mount bash -euc '
        root=$1; shift
        while [ "$1" != -- ]; do
            mkdir -p "$root$1"
            mount --rbind "$1" "$root$1"
            shift
        done
        shift
        exec "$@"' with_mounts "$@"
}
