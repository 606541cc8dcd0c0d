"""Takes the signature off a kernel module: appended_signature.py FILE SIGNATURE CONTENT, the latter two to be written."""

import struct
import sys

MAGIC = b"~Module signature appended~\n"
PKCS7 = 2
# struct module_signature of the kernel, before the magic words.
INFORMATION = 12

file, signature, content = sys.argv[1:]
with open(file, "rb") as module:
    data = module.read()
assert data.endswith(MAGIC), "no signature"
data = data[: -len(MAGIC)]
kind, size = data[-10], struct.unpack(">I", data[-4:])[0]
assert kind == PKCS7, "not PKCS#7"
with open(signature, "wb") as out:
    out.write(data[-INFORMATION - size : -INFORMATION])
with open(content, "wb") as out:
    out.write(data[: -INFORMATION - size])
