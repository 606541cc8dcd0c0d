"""Checks the built site: site_check.py FOLDER

Every link of every page leads to a file of the site, and its anchor is there; no page, style or
picture loads anything from another host; no diagram is left as text, and no escape is shown as it is. Links of the reader's own
choice may lead anywhere. Prints a line for each fault, and the counts at the end.
"""

import posixpath
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What loads its address without being asked, by tag: the attribute that has it.
LOADED = {
    "script": ["src"], "img": ["src", "srcset"], "iframe": ["src"], "embed": ["src"], "object": ["data"],
    "audio": ["src"], "video": ["src", "poster"], "source": ["src", "srcset"], "track": ["src"],
    "input": ["src"], "use": ["href", "xlink:href"], "image": ["href", "xlink:href"], "link": ["href"],
    "form": ["action"], "base": ["href"],
}
IN_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Page(HTMLParser):
    """What a page has: anchors, links, what it loads, and the languages of its blocks."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loaded, self.languages = {"", "top"}, [], [], []
        self.in_style = False
        self.text = text
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        for attribute in LOADED.get(tag, []):
            if attribute in values:
                self.loaded.append(values[attribute].split(" ")[0])
        self.loaded += in_style(values.get("style", ""))
        self.languages += re.findall(r"language-(\S+)", values.get("class", ""))
        self.in_style = tag == "style"

    def handle_data(self, data):
        if self.in_style:
            self.loaded += in_style(data)

    def handle_endtag(self, tag):
        self.in_style = False


def in_style(text):
    """The addresses that a style loads."""
    return [first or second for first, second in IN_STYLE.findall(text)]


class Site:
    """The built folder."""

    def __init__(self, folder):
        self.folder = folder
        self.files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        self.pages = {
            name: Page(path.read_text()) for name, path in self.files.items() if name.endswith(".html")
        }
        self.faults, self.links, self.anchors, self.outside = [], 0, 0, 0

    def fault(self, name, text):
        """Notes what is wrong with a file."""
        self.faults.append(f"FAILED   {name}: {text}")

    def follow(self, name, address, is_loaded):
        """Looks where an address leads that stands in a file."""
        if address.startswith("data:"):
            return
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            self.outside += 1
            if is_loaded:
                self.fault(name, f"loads {address}")
            return
        if address.startswith("/"):
            self.fault(name, f"{address} holds only where the site is the host's root")
            return
        self.links += 1
        path = unquote(parts.path)
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
        if target not in self.files:
            self.fault(name, f"{address} leads nowhere")
        elif parts.fragment and target in self.pages:
            self.anchors += 1
            if unquote(parts.fragment) not in self.pages[target].anchors:
                self.fault(name, f"{address}: the page has no such anchor")

    def check(self):
        """Looks at every file."""
        for name, page in self.pages.items():
            for link in page.links:
                self.follow(name, link, is_loaded=False)
            for address in page.loaded:
                self.follow(name, address, is_loaded=True)
            if "mermaid" in page.languages:
                self.fault(name, "a diagram is left as text")
            if "&amp;lt;" in page.text and not name.startswith("sources/"):
                self.fault(name, "it shows &lt; instead of <")
        for name, path in self.files.items():
            if name.endswith((".css", ".svg")):
                for address in in_style(path.read_text()):
                    # A part of the picture itself.
                    if not address.startswith("#"):
                        self.follow(name, address, is_loaded=True)


def notices_faults(folder):
    """Whether what is wrong on purpose is found, each of it."""
    text = (
        '<a href="#here">1</a><a href="no.html">2</a><a href="page.html#there">3</a>'
        '<img src="https://example.com/a.png"><script src="//example.com/a.js"></script>'
        '<style>@import "https://example.com/a.css";</style><code class="language-mermaid">a</code>'
        '<a href="https://example.com/">a link</a><code>&amp;lt;</code><p id="here">'
    )
    site = Site(folder)
    site.files, site.pages = {"page.html": folder}, {"page.html": Page(text)}
    site.check()
    return len(site.faults) == 7


def main():
    """Checks all pages."""
    folder = Path(sys.argv[1])
    if not notices_faults(folder):
        sys.exit("FAILED: faults that are made on purpose are not found")
    site = Site(folder)
    site.check()
    print("\n".join(site.faults), end="\n" if site.faults else "")
    print(
        f"{len(site.pages)} pages: {site.links} links and {site.anchors} anchors in the site, "
        f"{site.outside} links to elsewhere, {len(site.faults)} faults"
    )
    if len(site.pages) < 30 or site.anchors < 100:
        sys.exit("FAILED: too few pages or anchors were found")
    sys.exit(1 if site.faults else 0)


main()
