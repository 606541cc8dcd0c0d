"""Lays the documents out for mdBook: site_source.py FOLDER

They lie there as in the repository, and so their links between each other hold. What a repository's
page shows and mdBook doesn't is replaced: a link to a source leads to a page with its text, and a
diagram in Mermaid, which would need a program in the browser, becomes a picture of docs/site/.
"""

import html
import os
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

SITE = "docs/site"
LANDING = f"{SITE}/landing.md"
SUMMARY = f"{SITE}/SUMMARY.md"
LINK = re.compile(r"\]\(([^()\s]+)\)")
# A code span, or what HTML would take for a tag. Tables of settings have <host> and the like as the code has them.
SPAN_OR_TAG = re.compile(r"(`+)(?:(?!\1).)*\1|<(?!https?:)")

SOURCE_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
    body {{ font: 1em/1.5 system-ui, sans-serif; margin: 1em; }}
    pre {{ overflow-x: auto; font-size: 0.9em; }}
</style>
<p><a href="{home}">Keys in Azure Managed HSM</a></p>
<h1>{title}</h1>
{body}
</html>
"""


def tracked(*patterns):
    """The files of the repository that have these names."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns],
        check=True, capture_output=True, text=True,
    )
    return [name for name in listed.stdout.split("\0") if name]


def own_documents():
    """The documents that the site has: not the texts that tests read, and not forms to fill in."""
    return [
        name for name in tracked("*.md")
        if "/tests/" not in name and not name.startswith(".") and name != SUMMARY
    ]


def place(document):
    """Where a file of the repository lies in the site's source."""
    return "landing.md" if document == LANDING else document


def source_page(path):
    """Where the page of a source lies."""
    return f"sources/{path}.html"


class Layout:
    """The folder that mdBook reads."""

    def __init__(self, folder):
        self.folder = folder
        self.documents = set(own_documents())
        self.pictures = [Path(name).read_text() for name in tracked(f"{SITE}/*.svg")]
        self.used_pictures = set()
        # Sources that a document links to, and those that a folder's page lists.
        self.sources = []

    def write(self, path, text):
        """Writes one file of the folder."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def target(self, document, link):
        """A link of a document as it has to be in the site."""
        path, mark, anchor = link.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return link
        path = posixpath.normpath(posixpath.join(posixpath.dirname(document), path))
        if path in self.documents:
            found = place(path)
        else:
            found = self.source(path)
        base = "." if document == SUMMARY else posixpath.dirname(place(document)) or "."
        return posixpath.relpath(found, base) + mark + anchor

    def source(self, path):
        """The page of a source or a folder of them, which is made if it isn't there."""
        if path not in self.sources:
            self.sources.append(path)
        return source_page(path)

    def picture(self, diagram):
        """The picture of a diagram: the one that has the same words."""
        words = re.findall(r'"([^"]+)"', diagram)
        wanted = {line for text in words for line in text.split("<br>")}
        # A label that the diagram doesn't break may take several lines of a picture.
        joined = " ".join(sorted(wanted))
        for at, picture in enumerate(self.pictures):
            lines = {html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)}
            if lines == wanted:
                self.used_pictures.add(at)
                return f'<div class="picture-wrapper">\n{picture.strip()}\n</div>'
        sys.exit(f"FAILED: no picture in {SITE} has the words of this diagram, and no others: {joined}")

    def converted(self, document):
        """The text of a document as mdBook takes it."""
        lines, diagram, fence = [], None, None
        for line in Path(document).read_text().splitlines():
            mark = re.match(r"\s*(```+)(.*)", line)
            if diagram is not None:
                if mark:
                    lines.append(self.picture("\n".join(diagram)))
                    diagram = fence = None
                else:
                    diagram.append(line)
            elif mark and fence is None:
                fence = mark[1]
                if mark[2].strip() == "mermaid":
                    diagram = []
                else:
                    # Behind the language stands what tests the block.
                    lines.append(re.sub(r" \(.*\)$", "", line))
            elif mark and mark[1] == fence:
                fence = None
                lines.append(line)
            elif fence is None:
                line = SPAN_OR_TAG.sub(lambda found: "&lt;" if found[0] == "<" else found[0], line)
                lines.append(LINK.sub(lambda link: f"]({self.target(document, link[1])})", line))
            else:
                lines.append(line)
        return "\n".join(lines) + "\n"

    def write_source_page(self, path):
        """The page of a source: its text, or the files of a folder."""
        here = posixpath.dirname(source_page(path))
        if os.path.isdir(path):
            names = tracked(f"{path}/*")
            rows = [
                f'<li><a href="{posixpath.relpath(self.source(name), here)}">{html.escape(name)}</a>'
                for name in names
            ]
            body = "<ul>\n" + "\n".join(rows) + "\n</ul>"
        else:
            body = f"<pre>{html.escape(Path(path).read_text())}</pre>"
        home = posixpath.relpath("index.html", here)
        self.write(source_page(path), SOURCE_PAGE.format(title=html.escape(path), home=home, body=body))

    def lay_out(self):
        """Writes all of it."""
        summary = self.converted(SUMMARY)
        listed = {link.partition("#")[0] for link in LINK.findall(summary)}
        missing = sorted(name for name in self.documents if place(name) not in listed)
        if missing:
            sys.exit(f"FAILED: {SUMMARY} doesn't have {', '.join(missing)}")
        self.write("SUMMARY.md", summary)
        for document in sorted(self.documents):
            self.write(place(document), self.converted(document))
        if len(self.used_pictures) < len(self.pictures):
            sys.exit(f"FAILED: a picture in {SITE} is in no document")
        # A folder's page adds the files that it lists.
        for path in self.sources:
            self.write_source_page(path)


def main():
    """Makes the folder anew."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    layout = Layout(folder)
    layout.lay_out()
    print(f"{len(layout.documents)} documents, {len(layout.sources)} sources")


main()
