#!/usr/bin/env bash
# Builds the documentation site from the documents by mdBook, into target/site, and checks it: all links and anchors within it, that no
# page loads anything from elsewhere, and in Chromium, without any other host, that pages and search work. A web server can serve the
# folder as it is, under any path; from a disk it can be opened, too.
#
#   scripts/site.sh              builds and checks; the browser's part is skipped, loudly, where there is no Chromium
#   scripts/site.sh --build      builds and checks the links only
#
# Needs python3, and mdbook, which it installs by cargo into target/tools unless it is there. Pictures of pages are in
# target/site-pictures. Ends with "N passed, N failed, N skipped"; with 77, and the reason, where mdbook is not available.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/built.sh
. scripts/packages.sh
. scripts/checks.sh

release=0.5.4
work=$target_dir/site-work site=$target_dir/site pictures=$target_dir/site-pictures
PATH=$target_dir/tools/bin:$PATH
skipped=0

find_mdbook() {
    [ "$(mdbook --version 2>/dev/null)" != "mdbook v$release" ] || return 0
    require_cargo && cargo install --quiet --locked --root "$target_dir/tools" "mdbook@$release" </dev/null
}
if ! find_mdbook; then
    echo "SKIPPED: mdbook can't be installed here (cargo install --locked mdbook@$release)"
    exit 77
fi

# --- building ---------------------------------------------------------------------------------------------------------

build() {
    rm -rf "$work" "$site"
    mkdir -p "$work"
    python3 scripts/site_source.py "$work/source" && cp docs/site/book.toml docs/site/site.css "$work/" &&
        mdbook build --dest-dir "$site" "$work" 2>"$work/mdbook.log"
    local status=$?
    # Nothing that mdBook had to say is left unread.
    ! grep -E 'WARN|ERROR' "$work/mdbook.log" && [ "$status" -eq 0 ]
}

# --- in a browser -----------------------------------------------------------------------------------------------------

# Shows a page from the disk, where no other host has a name: browse OPTION… PAGE
browse() {
    local page=${*: -1}
    timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --user-data-dir="$profile" --host-resolver-rules='MAP * ~NOTFOUND' \
        --virtual-time-budget=10000 --hide-scrollbars "${@:1:$#-1}" "file://$site/$page" 2>>"$work/chromium.log"
}
shows() { # PAGE WORDS
    browse --dump-dom "$1" >"$work/page.html"
    grep -qF "$2" "$work/page.html"
}
# What a word finds, by the search of the page: the results are made in the browser.
finds() { # WORD PAGE
    browse --dump-dom "index.html?search=$1" >"$work/page.html"
    grep -oE '<a href="[^"]*highlight=[^"]*"' "$work/page.html" | grep -F "$2" | head -n 1
}
finds_nothing() {
    browse --dump-dom "index.html?search=$1" >"$work/page.html"
    ! grep -E 'href="[^"]*highlight=' "$work/page.html"
}
# A picture that has something on it: picture NAME PAGE WIDTH HEIGHT [OPTION]…
picture() {
    local file="$pictures/$1.png"
    browse --window-size="$3,$4" --screenshot="$file" "${@:5}" "$2"
    [ "$(head -c 4 "$file" | od -An -c | tr -d ' ')" = 211PNG ] && [ "$(stat -c %s "$file")" -gt 10000 ]
}
# A page of a phone's width fits: what is wider scrolls in itself. Headless Chromium has no window as narrow, but a frame can be.
fits_a_phone() { # PAGE
    cat >"$site/frame.html" <<END
<!doctype html><style>body { margin: 0 }</style><iframe id="phone" src="$1" width="360" height="800"></iframe>
<script>
document.getElementById("phone").addEventListener("load", ({target}) => {
    const page = target.contentDocument.documentElement;
    document.title = page.scrollWidth + " of " + page.clientWidth;
});
</script>
END
    browse --allow-file-access-from-files --dump-dom frame.html >"$work/page.html"
    picture "phone-$(basename "$1" .html)" frame.html 500 810
    rm -f "$site/frame.html"
    local wide narrow
    read -r wide narrow < <(sed -n 's|.*<title>\([0-9]*\) of \([0-9]*\)</title>.*|\1 \2|p' "$work/page.html")
    echo "$1: $wide of ${narrow:-?} pixels"
    [ "${narrow:-0}" -gt 300 ] && [ "$wide" -le "$narrow" ]
}
# The hosts that a page has the browser ask, without those that Chromium asks by itself.
asked() {
    browse --log-net-log="$work/net.json" --dump-dom "$1" >/dev/null
    grep -oE '"url":"(https?|wss?)://[^/"]*' "$work/net.json" | sed 's|.*//||' | grep -vE '\.(google|googleapis|gvt1)\.com$' | sort -u
}
asked_nobody() {
    echo '<!doctype html><img src="https://picture.example/a.png">' >"$site/frame.html"
    local wrong hosts
    wrong=$(asked frame.html) hosts=$(for page in index.html README.html docs/applications.html; do asked "$page"; done)
    rm -f "$site/frame.html"
    echo "a page with a picture of another host: $wrong; pages of the site: ${hosts:-none}"
    [ "$wrong" = picture.example ] && [ -z "$hosts" ]
}

in_browser() {
    if ! command -v chromium >/dev/null; then
        echo "SKIPPED  pages and search in a browser: chromium is not installed (apt-get install chromium)"
        skipped=$((skipped + 1))
        return
    fi
    profile=$(mktemp -d)
    trap 'rm -rf "$profile"' EXIT
    rm -rf "$pictures"
    mkdir -p "$pictures"
    check "the landing page" shows index.html "a private key that never leaves"
    check "a long page" shows docs/applications.html "Programs of your own"
    check "the diagram is a picture" shows README.html '<svg class="picture"'
    check "search finds a setting" finds operation-timeout docs/configuration.html
    check "search finds a program" finds stunnel docs/applications.html
    check "search finds nothing where there is nothing" finds_nothing zzyzx
    check "pages ask no host" asked_nobody
    for page in index.html README.html docs/applications.html docs/configuration.html docs/pkcs11.html; do
        check "a phone shows $page" fits_a_phone "$page"
    done
    check "picture: landing" picture landing index.html 1200 800
    check "picture: long" picture long docs/applications.html 1200 3000
    check "picture: README" picture readme README.html 1200 1200
    check "picture: dark" picture dark README.html 1200 1000 --blink-settings=preferredColorScheme=0
    check "picture: search" picture search 'index.html?search=throttling' 1200 800
}

check "mdBook builds it" build
check "links, anchors, and what pages load" python3 scripts/site_check.py "$site"
if [ "${1:-}" != --build ] && [ "$failed" -eq 0 ]; then
    in_browser
fi
echo "The site is $site/index.html"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
