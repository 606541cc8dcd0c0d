"""Writes the smallest Windows program that has all headers: DOS, PE32+, one section."""
import struct, sys
dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 240, 0x22)
optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 512, 0, 0, 0x1000, 0x1000)
optional += struct.pack("<QIIHHHHHHIIIIHHQQQQII", 0x140000000, 0x1000, 512, 6, 0, 0, 0, 6, 0, 0, 0x2000, 512, 0, 3, 0x8160,
                        0x100000, 0x1000, 0x100000, 0x1000, 0, 16) + bytes(128)
section = struct.pack("<8sIIIIIIHHI", b".text", 1, 0x1000, 512, 512, 0, 0, 0, 0, 0x60000020)
headers = (dos + coff + optional + section).ljust(512, b"\0")
open(sys.argv[1], "wb").write(headers + b"\xc3".ljust(512, b"\0"))
