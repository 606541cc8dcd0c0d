# shellcheck shell=bash
# Programs from PyPI, each in an environment of its own that is kept. Sourced after built.sh, not run.
#
#   install_from_pypi NAME RELEASE PLACE    has this release in the folder PLACE; fails if it can't be had

install_from_pypi() {
    local name=$1 release=$2 place=$3
    [ "$(cat "$place/installed" 2>/dev/null)" != "$release" ] || return 0
    rm -rf "$place"
    python3 -m venv "$place" && "$place/bin/python" -m pip install --quiet "$name==$release" && echo "$release" >"$place/installed"
}
