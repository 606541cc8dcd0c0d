#!/usr/bin/env bash
# Programs that use OpenSSL, or PKCS#11, as they come from Debian, with keys in an emulator: each script of tests/apps. Run
# after scripts/release-build.sh and `cargo build --workspace`. What isn't installed is skipped, loudly.
#
#   scripts/applications.sh                    all programs of this machine
#   scripts/applications.sh nginx haproxy      some
#   scripts/applications.sh --install          installs the Debian packages of all of them before
#   scripts/applications.sh --suite forky …    the programs of another Debian suite, in a root made by mmdebstrap
#
# Ends with a table, the reason for each skip, and "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/packages.sh
. scripts/roots.sh
. scripts/built.sh

packages=(openssl curl ca-certificates procps nginx-light libnginx-mod-stream apache2 haproxy stunnel4 postgresql
    python3 ruby libio-socket-ssl-perl nodejs php-cli osslsigncode xmlsec1 git redis-server mariadb-server bind9
    bind9-dnsutils bind9-utils openvpn chromium libnss3-tools fonts-dejavu-core dovecot-imapd socat wget lighttpd lighttpd-mod-openssl
    strongswan-charon strongswan-swanctl strongswan-pki libstrongswan-standard-plugins pebble certbot lego
    squid-openssl unbound mosquitto mosquitto-clients freeradius eapoltest slapd ldap-utils rauc squashfs-tools sbsigntool systemd-boot-efi
    libengine-pkcs11-openssl libstrongswan-extra-plugins gnutls-bin p11-kit p11-kit-modules openssh-server openssh-client softhsm2 opensc libxmlsec1-dev)
# Beginnings of names: not every suite has these, or they are named by a version, as what has sign-file is.
newer=(systemd-ukify systemd-repart systemd-tpm 'linux-kbuild-[0-9]' 'pesign$' 'python3-pykcs11$'
    'golang-go$' 'golang-github-thalesignite-crypto11-dev$'
    'openjdk-[0-9]+-jdk-headless$' 'tomcat10$' 'apksigner$'
    'gpgsm$' 'gpg-agent$' 'gnupg-pkcs11-scd$' 'knot$'
    'libldns3$' 'libevent-pthreads-[0-9.-]+$' 'wpasupplicant$' 'hostapd$' 'iproute2$')
# Only one of them can be installed, and so each is just before its test; another suite has the first.
declare -A mail_servers=([postfix]=postfix [pkcs11-exim]=exim4-daemon-light)
# What deployment.sh and compose.sh build and check with: of this machine, not of another suite. Without runc, for which Docker's own
# packages would have to go.
builders=(systemd mmdebstrap buildah podman netavark aardvark-dns iptables python3-venv)

# The newest of each that this machine's suite has.
offered() {
    local name
    for name in "${newer[@]}"; do
        apt-cache search --names-only "^$name" | cut -d' ' -f1 | sort --version-sort | tail -n 1
    done
}

# Runs this script in a root of another suite, where this repository, the target folder, /proc and /dev are at their usual places.
run_in_suite() {
    local suite=$1 root="$target_dir/applications/$1" reason
    shift
    reason=$(root_obstacle)
    if [ -n "$reason" ]; then
        echo "SKIPPED  Debian $suite: $reason"
        echo "0 passed, 0 failed, 1 skipped"
        return 0
    fi
    # apt takes ~n for a pattern, which may match nothing; some names are of packages that are gone, which others mention.
    newer=("${newer[@]/#/\~n^}")
    packages+=(postfix "${newer[@]/%/!\~v}")
    make_root "$suite" "$root" "$(IFS=,; echo "${packages[*]}")" &&
        with_mounts "$root" /proc /dev "$PWD" "$CARGO_TARGET_DIR" -- chroot "$root" "$PWD/scripts/applications.sh" "$@"
}

suite='' names=() installs=no
while [ "$#" -gt 0 ]; do
    case $1 in
        --install)
            installs=yes
            mapfile -t others < <(offered)
            install_missing "${packages[@]}" "${others[@]}" "${builders[@]}" || exit
            ;;
        --suite)
            [ "$#" -ge 2 ] || { echo "--suite needs the name of a Debian suite." >&2; exit 2; }
            suite=$2
            shift
            ;;
        -*)
            echo "Unknown option: $1" >&2
            exit 2
            ;;
        *)
            [ -x "tests/apps/$1.sh" ] || { echo "There is no tests/apps/$1.sh." >&2; exit 2; }
            names+=("$1")
            ;;
    esac
    shift
done
if [ -n "$suite" ]; then
    export CARGO_TARGET_DIR=$target_dir
    run_in_suite "$suite" "${names[@]}"
    exit
fi
if [ "${#names[@]}" -eq 0 ]; then
    for script in tests/apps/*.sh; do
        if [ -x "$script" ]; then
            names+=("$(basename "$script" .sh)")
        fi
    done
fi

passed=0 failed=0 skipped=0
table=() reasons=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for name in "${names[@]}"; do
    printf '\n=== %s\n' "$name"
    if [ "$installs" = yes ] && [ -n "${mail_servers[$name]:-}" ]; then
        install_missing "${mail_servers[$name]}" || exit
    fi
    "tests/apps/$name.sh" </dev/null 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    good=0 bad=0 not_tried=0
    # A script that died has no last line.
    if ! read -r good bad not_tried < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$log" | tail -n 1) ||
        { [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; }; then
        bad=$((${bad:-0} + 1))
    fi
    table+=("$(printf '%-20s %7d %7d %8d' "$name" "${good:-0}" "$bad" "${not_tried:-0}")")
    passed=$((passed + ${good:-0})) failed=$((failed + bad)) skipped=$((skipped + ${not_tried:-0}))
    while IFS= read -r line; do
        reasons+=("$name: ${line#SKIPPED  }")
    done < <(grep '^SKIPPED' "$log")
done

printf '\n%-20s %7s %7s %8s\n' program passed failed skipped
printf '%s\n' "${table[@]}"
if [ "${#reasons[@]}" -gt 0 ]; then
    printf '\nSkipped:\n'
    printf '  %s\n' "${reasons[@]}"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
