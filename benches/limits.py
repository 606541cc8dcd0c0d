"""Compares what scripts/bench.sh measured in a folder with what is promised, and writes limits.md: each limit, what was measured, and
whether it is held. Exit status 1 if one is not; 77 if none is missed for certain, but one for what the rounds can tell. What was not
measured, or only for a look (--quick), is said and not judged."""

import json
import sys
from math import comb
from pathlib import Path
from statistics import median

# A rate by that of a bare client: where the processors are the limit, and where the HSM is, since each signature takes it so many
# milliseconds longer.
LATENCIES = (0, 10)
LEAST_OF_PROCESSORS = 0.95
LEAST_OF_WAITING = 0.98
# A bare client that makes less than this share of what the HSM's latency lets its threads make has no processor left.
LEAST_SHARE_OF_WAITING = 0.75
# What is judged in a file: by which ways, and how it is called.
KEYS = {
    "rsa-pkcs11": (["pkcs11"], "RSA 2048"),
    "ec-unchecked": (["pkcs11"], "EC P-256 without the check"),
    "ml-dsa-unchecked": (["provider", "pkcs11"], "ML-DSA-65 without the check"),
}
WAYS = {"provider": "the provider", "pkcs11": "PKCS#11"}
THREADS = (1, 8, 64)
# What is known of a limit.
HELD, NOT_HELD, UNCERTAIN, NOT_JUDGED = "held", "NOT HELD", "uncertain", "not judged"
# Fewer rounds of a measurement are a look: what else the machine does weighs too much.
LEAST_ROUNDS = 5

# The rate of nginx's handshakes by that of nginx with the provider: the server, and what it is compared with.
LEAST_OF_SERVERS = 0.95
SERVERS = {
    "nginx, 4 workers, 10 ms, PKCS#11 by libp11's engine": "nginx, 4 workers, 10 ms",
    "nginx, 4 workers, 10 ms, PKCS#11 by pkcs11-provider": "nginx of Debian 13, 4 workers, 10 ms",
}

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


def interval(values):
    """Between which of the values the true median is with a probability of 95 % at least, whatever their distribution (as the sign
    test tells): the lower and the upper bound. With fewer than six values no two of them are that far apart: the least and the largest."""
    values = sorted(values)
    chance = outer = 0
    for outside in range(len(values) // 2):
        chance += 2 * comb(len(values), outside) / 2 ** len(values)
        if chance > 0.05:
            break
        outer = outside
    return values[outer], values[-1 - outer]


def judged(rates, least):
    """What was measured of a rate by another one's, and whether the limit is held: a machine that does other things besides makes
    single rounds differ by a tenth. None: not measured."""
    if not rates:
        return None, NOT_JUDGED
    middle = median(rates)
    low, high = interval(rates)
    held = HELD if middle >= least else NOT_HELD if high < least else UNCERTAIN
    return f"{middle:.3f} ({low:.3f} to {high:.3f})", held


def waits(bare, latency, threads):
    """Whether a bare client's threads wait for the HSM rather than for a processor."""
    return latency > 0 and (bare is None or bare["per_second"] >= LEAST_SHARE_OF_WAITING * threads / latency * 1e3)


def signatures(folder):
    """Each limit of the rate: its name, the limit as a text, what was measured, and whether it is held."""
    for file, (ways, name) in KEYS.items():
        found = {
            (one["way"], one["latency_ms"], one["threads"]): one
            for one in lines(folder / f"signatures-{file}.json")
            if one["rounds"] >= LEAST_ROUNDS
        }
        for way in ways:
            for latency in LATENCIES:
                for threads in THREADS:
                    title = f"{name} by {WAYS[way]}, {threads} threads, {latency} ms: rate, to a bare client"
                    is_waiting = waits(found.get(("bare", latency, threads)), latency, threads)
                    least = LEAST_OF_WAITING if is_waiting else LEAST_OF_PROCESSORS
                    rates = found.get((way, latency, threads), {}).get("to_bare")
                    yield (title, f">= {least}", *judged(rates, least))


def servers(folder):
    """The same of handshakes. The rounds of two servers follow each other: each is compared with the other's in its place."""
    rates = {one["server"]: one["rates"] for one in lines(folder / "servers.json") if len(one["rates"]) >= LEAST_ROUNDS}
    for name, other in SERVERS.items():
        both = zip(rates.get(name, []), rates.get(other, []))
        ratios = [rate / compared for rate, compared in both]
        yield (f"{name}: rate, to the provider's", f">= {LEAST_OF_SERVERS}", *judged(ratios, LEAST_OF_SERVERS))


def at_most(found, limits):
    """The same of figures that must not be exceeded."""
    for field, name, most in limits:
        value = found.get(field)
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        held = NOT_JUDGED if value is None else HELD if value <= most else NOT_HELD
        yield name, f"<= {most}", None if value is None else shown, held


def many_keys(folder):
    of_keys = [one for one in lines(folder / "pkcs11-keys.json") if all(one[name] == value for name, value in MANY_KEYS.items())]
    return at_most(of_keys[-1] if of_keys else {}, OF_MANY_KEYS)


def cold_signature(folder):
    found = lines(folder / "pkcs11-cold.json")
    return at_most(found[-1] if found else {}, OF_COLD_SIGNATURE)


def main():
    folder = Path(sys.argv[1])
    found = [*signatures(folder), *servers(folder), *many_keys(folder), *cold_signature(folder)]
    rows = [("limit", "promised", "measured", ""), *((name, limit, shown or "-", held) for name, limit, shown, held in found)]
    cells = [rows[0], ("---",) * 4, *rows[1:]]
    text = "## Limits\n\n" + "".join("| " + " | ".join(row) + " |\n" for row in cells) + "\n"
    (folder / "limits.md").write_text(text)
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    counts = {held: sum(1 for one in found if one[3] is held) for held in (HELD, NOT_HELD, UNCERTAIN, NOT_JUDGED)}
    print(", ".join(f"{count} limits {held}" for held, count in counts.items()))
    sys.exit(1 if counts[NOT_HELD] else 77 if counts[UNCERTAIN] else 0)


main()
