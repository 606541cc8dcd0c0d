#!/usr/bin/env bash
# Has proselint, from PyPI, read the documents. Off are its checks of typography, which code has too, and of words that are said twice,
# which a heading and the sentence below it are (.proselintrc.json). Skipped, with the reason, where proselint can't be had.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/built.sh
. scripts/pypi.sh

place="$target_dir/proselint"
if ! install_from_pypi proselint 0.16.0 "$place"; then
    echo "SKIPPED: proselint can't be installed here (python3 -m venv; pip install proselint)"
    exit 77
fi
# That it reads at all.
if echo 'It is very unique.' | "$place/bin/proselint" check --config .proselintrc.json >/dev/null; then
    echo "FAILED: proselint finds nothing in a sentence that is bad" >&2
    exit 1
fi
# Not the documents of others, which tests read.
git ls-files -z '*.md' ':!:crates/*/tests/*' | xargs --null "$place/bin/proselint" check --config .proselintrc.json
echo "proselint finds nothing in $(git ls-files '*.md' ':!:crates/*/tests/*' | wc -l) documents"
