"""Compares what scripts/bench.sh measured in a folder with what is promised, and writes limits.md: each limit, what was measured, and
whether it is held. Exit status 1 if one is not. What was not measured, or only for a look (--quick), is said and not judged."""

import json
import sys
from pathlib import Path

# The rate of the PKCS#11 module by that of a bare client, by the milliseconds that the HSM adds.
LEAST_RATIO = {0: 0.95, 10: 0.98}
KEYS = {"rsa-pkcs11": "RSA 2048", "ec-unchecked": "EC P-256 without the check"}
THREADS = (1, 8, 64)
# Fewer rounds of a measurement are a look: what else the machine does weighs too much.
LEAST_ROUNDS = 5

# With so many keys, milliseconds and connections: what is measured, how it is called, and at most how much of it there may be.
MANY_KEYS = {"keys": 2000, "latency_ms": "10", "connections": "20"}
OF_MANY_KEYS = [
    ("first_s", "2,000 keys, 10 ms, 20 connections: the first search by class (s)", 4.0),
    ("next_ms", "the next search (ms)", 1.0),
    ("bytes_a_key", "memory of a key (bytes)", 4096),
    ("attribute_us", "a read of an attribute (us)", 2.0),
]
OF_COLD_SIGNATURE = [
    ("connections", "pkcs11-tool --sign by a label, cold: connections", 1),
    ("requests", "pkcs11-tool --sign by a label, cold: requests", 2),
]


def lines(path):
    """The JSON objects of a file, one a line; none if it wasn't measured."""
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def signatures(folder):
    """Each limit of the rate: its name, the limit as a text, what was measured, and whether it is held; None: not judged."""
    for file, name in KEYS.items():
        found = {
            (one["latency_ms"], one["threads"]): one
            for one in lines(folder / f"signatures-{file}.json")
            if one["way"] == "pkcs11" and one["rounds"] >= LEAST_ROUNDS
        }
        for latency, least in LEAST_RATIO.items():
            for threads in THREADS:
                ratio = found.get((latency, threads), {}).get("to_bare")
                yield (
                    f"{name}, {threads} threads, {latency} ms: rate, to a bare client",
                    f">= {least}",
                    None if ratio is None else f"{ratio:.3f}",
                    None if ratio is None else ratio >= least,
                )


def at_most(found, limits):
    """The same of figures that must not be exceeded."""
    for field, name, most in limits:
        value = found.get(field)
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        yield name, f"<= {most}", None if value is None else shown, None if value is None else value <= most


def many_keys(folder):
    of_keys = [one for one in lines(folder / "pkcs11-keys.json") if all(one[name] == value for name, value in MANY_KEYS.items())]
    return at_most(of_keys[-1] if of_keys else {}, OF_MANY_KEYS)


def cold_signature(folder):
    found = lines(folder / "pkcs11-cold.json")
    return at_most(found[-1] if found else {}, OF_COLD_SIGNATURE)


WORDS = {True: "held", False: "NOT HELD", None: "not judged"}


def main():
    folder = Path(sys.argv[1])
    found = [*signatures(folder), *many_keys(folder), *cold_signature(folder)]
    rows = [("limit", "promised", "measured", ""), *((name, limit, shown or "-", WORDS[held]) for name, limit, shown, held in found)]
    cells = [rows[0], ("---",) * 4, *rows[1:]]
    text = "## Limits\n\n" + "".join("| " + " | ".join(row) + " |\n" for row in cells) + "\n"
    (folder / "limits.md").write_text(text)
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    counts = {held: sum(1 for one in found if one[3] is held) for held in WORDS}
    print(f"{counts[True]} limits held, {counts[False]} not held, {counts[None]} not judged")
    sys.exit(1 if counts[False] else 0)


main()
