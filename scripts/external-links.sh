#!/usr/bin/env bash
# Asks each address outside of this repository that a document links to whether it is there. tests/documentation.rs checks the links
# between documents.
#
# Prints a line for each address; ends with status 1 if one is gone, and with 77, and the reason, where no page can be asked for here.
set -euo pipefail
cd "$(dirname "$0")/.."

links() {
    # Not the documents of others, which tests read.
    git ls-files -z '*.md' ':!:crates/*/tests/*' | xargs --null grep -ohE '\]\(https?://[^) ]+\)' | sed 's/^](\(.*\))$/\1/' | sort -u
}
# The HTTP status at an address, after redirections; 000: nobody answered. Some servers answer GET only.
status_of() {
    local status
    status=$(curl --silent --location --max-time 30 --retry 2 --head --output /dev/null --write-out '%{http_code}' "$1" || true)
    case $status in
        4?? | 5??) curl --silent --location --max-time 30 --output /dev/null --write-out '%{http_code}' "$1" || true ;;
        *) echo "${status:-000}" ;;
    esac
}

if ! command -v curl >/dev/null; then
    echo "SKIPPED: curl is not installed (apt-get install curl)"
    exit 77
fi
# Whether pages can be asked for here, and one that is not there is told from one that is.
missing=https://learn.microsoft.com/azure/key-vault/general/there-is-no-such-page
known=$(status_of "$missing")
if [ "$known" != 404 ]; then
    echo "SKIPPED: no page outside can be asked for here: $missing should answer 404, and answers $known"
    exit 77
fi
passed=0 failed=0 skipped=0
while read -r link; do
    status=$(status_of "$link")
    case $status in
        2??)
            echo "ok       $link"
            passed=$((passed + 1))
            ;;
        404 | 410 | 000)
            echo "FAILED   $link: HTTP $status" >&2
            failed=$((failed + 1))
            ;;
        *)
            echo "skipped  $link: HTTP $status tells neither that it is there nor that it is gone"
            skipped=$((skipped + 1))
            ;;
    esac
done < <(links)
if [ $((passed + failed + skipped)) -lt 5 ]; then
    echo "FAILED: too few links were found" >&2
    exit 1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
