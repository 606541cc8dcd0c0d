#!/usr/bin/env bash
# Makes Debian's packages, and RPMs, of the committed sources: in target/packages.
#
#   scripts/make-packages.sh [--version VERSION] [--arm64] [deb] [rpm]     both, unless one is named
#
# With --arm64 of what scripts/arm64.sh builds, in target/arm64/packages.
#
# Four packages: akv, openssl-provider-akv, akv-pkcs11, managed-hsm-emulator. They run on systems as old as this one, or newer. Their
# maintainer is who makes them: DEBFULLNAME and DEBEMAIL, or else the author of the last commit.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
. scripts/roots.sh
. scripts/built.sh

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
kinds=() architecture=
while [ "$#" -gt 0 ]; do
    case $1 in
        --version)
            [ "$#" -ge 2 ] || { echo "--version needs a version." >&2; exit 2; }
            version=$2
            shift
            ;;
        --arm64) architecture=arm64 ;;
        deb | rpm) kinds+=("$1") ;;
        *) echo "'$1' is no kind of package: deb, rpm." >&2; exit 2 ;;
    esac
    shift
done
[ "${#kinds[@]}" -gt 0 ] || kinds=(deb rpm)

changes=$(git status --porcelain)
if [ -n "$changes" ]; then
    echo "Packages are made of what is committed. Commit these changes, or take them away:" >&2
    echo "$changes" >&2
    exit 1
fi
require_cargo
if [ -n "$architecture" ]; then
    "scripts/$architecture.sh"
    target_dir="$target_dir/$architecture"
else
    scripts/release-build.sh
fi
built="$target_dir/shipped/release"
packages="$target_dir/packages"
mkdir -p "$packages"
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
git archive HEAD | tar --extract --directory="$work/source"
# So that packages of the same sources are the same.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

maintainer="${DEBFULLNAME:-$(git log -1 --format=%an)} <${DEBEMAIL:-$(git log -1 --format=%ae)}>"

# Runs a command where what was built runs, and can be stripped: in a root of its architecture.
where_it_runs() {
    local root="$target_dir/make-packages"
    if [ -n "$architecture" ]; then
        make_root bookworm "$root" build-essential,debhelper,dpkg-dev,rpm "$architecture" &&
            with_mounts "$root" /proc /dev "$target_dir" "$work" -- chroot "$root" "$@"
    else
        "$@"
    fi
}

make_deb() {
    [ -n "$architecture" ] || install_missing build-essential debhelper dpkg-dev
    mv "$work/source/packaging/debian" "$work/source/debian"
    sed -i "s/^Maintainer: .*/Maintainer: $maintainer/" "$work/source/debian/control"
    cat >"$work/source/debian/changelog" <<END
akv-provider ($version) unstable; urgency=medium

  * See CHANGELOG.md.

 -- $maintainer  $(date --rfc-email --utc --date="@$SOURCE_DATE_EPOCH")
END
    # shellcheck disable=SC2016 # the other shell's
    where_it_runs sh -euc 'cd "$0" && BUILT="$1" dpkg-buildpackage --build=binary --no-sign --no-check-builddeps' \
        "$work/source" "$built"
    mv "$work"/*.deb "$packages/"
}

make_rpm() {
    [ -n "$architecture" ] || install_missing rpm
    where_it_runs rpmbuild -bb --quiet --define "_topdir $work/rpm" --define "_rpmdir $packages" --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
        --define "akv_version $version" --define "sources $work/source" --define "built $built" --define '_libdir /usr/lib64' \
        --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' \
        "$work/source/packaging/akv-provider.spec"
}

for kind in "${kinds[@]}"; do
    "make_$kind"
done
ls -l "$packages"
