"""The smallest PDF: document.py new FILE; and what is signed in one, and by what: document.py parts FILE CONTENT SIGNATURE"""

import re
import sys

OBJECTS = [
    b"<</Type/Catalog/Pages 2 0 R>>",
    b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Resources<<>>>>",
]


def new():
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, text in enumerate(OBJECTS, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, text)
    start = len(out)
    out += b"xref\n0 4\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"trailer\n<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start


def parts(document):
    """All but the place of the signature; and the signature, which zeros fill up."""
    found = re.search(rb"/ByteRange\s*\[\s*0\s+(\d+)\s+(\d+)\s+(\d+)\s*\]", document)
    first, start, length = map(int, found.groups())
    assert start + length == len(document), "not all is signed"
    padded = bytes.fromhex(document[first + 1:start - 1].decode())
    # The length of the outermost sequence, of which CMS has two bytes here.
    assert padded[:2] == b"\x30\x82"
    return document[:first] + document[start:], padded[:4 + int.from_bytes(padded[2:4], "big")]


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


if sys.argv[1] == "new":
    write(sys.argv[2], new())
else:
    with open(sys.argv[2], "rb") as file:
        for path, part in zip(sys.argv[3:], parts(file.read())):
            write(path, part)
