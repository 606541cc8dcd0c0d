"""Writes report.md and its plots (SVG) from what scripts/bench.sh measured in a folder."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

WAYS = {
    "software": "tab:gray", "bare": "tab:orange", "tasks": "tab:green", "provider": "tab:blue",
    "io-thread": "tab:purple", "pkcs11": "tab:red",
}


def lines(path):
    """The JSON objects of a file, one a line; none if it wasn't measured."""
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def table(heading, rows):
    """A table in Markdown."""
    cells = [heading, ["---"] * len(heading), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in row) + " |\n" for row in cells)


def plot(figure, name, folder):
    figure.tight_layout()
    figure.savefig(folder / name)
    plt.close(figure)
    return f"![{name}]({name})\n\n"


def signatures(folder, key):
    found = lines(folder / f"signatures-{key}.json")
    if not found:
        return ""
    latencies = sorted({one["latency_ms"] for one in found})
    threads = sorted({one["threads"] for one in found})
    by = {(one["latency_ms"], one["threads"], one["way"]): one for one in found}
    text = f"## Signatures, {key.upper().replace('-', ' ')}\n\n"
    for field, label, name in [("per_second", "signatures a second", "rate"), ("p99_ms", "p99 in ms", "p99")]:
        figure, axes = plt.subplots(1, len(latencies), figsize=(4 * len(latencies), 3.4), squeeze=False)
        for axis, latency in zip(axes[0], latencies):
            for way, colour in WAYS.items():
                points = [(n, by[latency, n, way][field]) for n in threads if (latency, n, way) in by]
                if points:
                    axis.plot(*zip(*points), marker="o", color=colour, label=way)
            axis.set(title=f"HSM + {latency} ms", xlabel="threads", xscale="log", yscale="log")
            axis.set_xticks(threads, [str(n) for n in threads])
            axis.grid(alpha=0.3)
        axes[0][0].set_ylabel(label)
        axes[0][0].legend()
        text += plot(figure, f"signatures-{key}-{name}.svg", folder)
    rows = []
    for latency in latencies:
        for count in threads:
            for way in ["provider", "pkcs11"]:
                ours, bare = by.get((latency, count, way)), by.get((latency, count, "bare"))
                if not ours or not bare:
                    continue
                ratio = lambda field: f"{ours[field] / bare[field]:.2f}"  # noqa: E731
                rows.append(
                    [latency, count, way, f"{ours['per_second']:.0f}", f"{bare['per_second']:.0f}",
                     ratio("per_second"), f"{ours['p99_ms']:.2f}", ratio("p99_ms"),
                     f"{ours['cpu_us']:.0f}", ratio("cpu_us")]
                )
    heading = ["HSM + ms", "threads", "way", "per second", "bare/s", "ratio", "p99 ms", "p99 ratio", "CPU µs", "CPU ratio"]
    text += table(heading, rows) + "\n"
    # What a hand-over of requests costs, to threads that drive connections themselves.
    rows = []
    for latency in latencies:
        for count in threads:
            own, handed = by.get((latency, count, "provider")), by.get((latency, count, "io-thread"))
            if own and handed:
                rows.append(
                    [latency, count]
                    + [f"{handed[field] / own[field]:.2f}" for field in ("per_second", "p99_ms", "cpu_us")]
                )
    return text + table(["HSM + ms", "threads", "I/O thread: rate ratio", "p99 ratio", "CPU ratio"], rows) + "\n"


def renewal(folder):
    found = lines(folder / "renewal.json")
    if not found:
        return ""
    one = found[-1]
    rows = [[
        one["seconds"], one["renewals"], one["signatures"], one["signatures_failed"], one["handshakes"], one["handshakes_failed"],
        f"{one['p99_around_ms']:.2f}", f"{one['p99_rest_ms']:.2f}", f"{one['p99_around_ms'] / one['median_rest_ms']:.2f}",
    ]]
    heading = ["s", "renewals", "signatures", "failed", "handshakes", "failed", "p99 ms around", "p99 ms else", "p99 around / median else"]
    return f"## Tokens of {one['lifetime']} s under load\n\n" + table(heading, rows) + "\n"


def start(folder):
    found = {one["way"]: one["ms"] for one in lines(folder / "start.json")}
    if not found:
        return ""
    rows = [[way, f"{ms:.2f}", f"{ms / found['curl']:.2f}"] for way, ms in found.items()]
    return "## A command line, cold\n\n" + table(["way", "ms", "to curl"], rows) + "\n"


def loading(folder):
    found = lines(folder / "loading.json")
    rows = [[one["way"], one["keys"], one["latency_ms"], one["ms"], one["cpu_ms"], one["requests"]] for one in found]
    heading = ["key files", "keys", "HSM + ms", "ms", "ms of CPU", "requests"]
    return "## nginx loads many keys\n\n" + table(heading, rows) + "\n" if rows else ""


def cost(folder):
    rows = [
        [one["key"], one["requests"], one["connections"], one["kib_100"], one["kib_5000"], one["instructions"]]
        for one in lines(folder / "cost.json")
    ]
    heading = ["key", "requests for 1000", "connections", "KiB after 100", "KiB after 5000", "instructions each"]
    return "## What a signature costs\n\n" + table(heading, rows) + "\n" if rows else ""


def keys(folder):
    rows = [
        [one["keys"], one["latency_ms"], one["connections"], f"{one['first_s']:.2f}", f"{one['next_ms']:.3f}", one["bytes_a_key"],
         f"{one['attribute_us']:.2f}"]
        for one in lines(folder / "pkcs11-keys.json")
    ]
    heading = ["keys", "HSM + ms", "connections", "first search s", "next ms", "bytes a key", "attribute µs"]
    return "## Many keys by PKCS#11\n\n" + table(heading, rows) + "\n" if rows else ""


def servers(folder):
    found = lines(folder / "servers.json")
    if not found:
        return ""
    figure, axis = plt.subplots(figsize=(7, 0.5 * len(found) + 1))
    axis.barh([one["server"] for one in found], [one["per_second"] for one in found], color="tab:blue")
    axis.invert_yaxis()
    axis.set_xlabel("handshakes a second")
    text = "## TLS handshakes\n\n" + plot(figure, "servers.svg", folder)
    rows = [
        [one["server"], one["clients"], f"{one['per_second']:.1f}", f"{one['p50_ms']:.1f}", f"{one['p99_ms']:.1f}", one["failed"]]
        for one in found
    ]
    text += table(["server", "clients", "per second", "p50 ms", "p99 ms", "failed"], rows) + "\n"
    rate = {one["server"]: one["per_second"] for one in found}
    software, four = rate.get("nginx, 1 worker, software"), rate.get("nginx, 4 workers, 10 ms")
    if software and four:
        bound = 4 / (0.010 + 1 / software)
        text += f"nginx, 4 workers: {four / bound:.2f} of workers ÷ (10 ms + a software handshake) = {bound:.0f}/s.\n\n"
    by_engine, by_provider = rate.get("nginx, 4 workers, 10 ms, PKCS#11 by libp11's engine"), rate.get("nginx, 4 workers, 10 ms, PKCS#11 by pkcs11-provider")
    for name, way, other in (("libp11's engine", by_engine, four), ("pkcs11-provider", by_provider, rate.get("nginx of Debian 13, 4 workers, 10 ms"))):
        if way and other:
            text += f"nginx by the PKCS#11 module and {name}: {way / other:.2f} of the handshakes by the provider.\n\n"
    clean, troubled = rate.get("nginx, at half the rate"), rate.get("nginx, at half the rate, 429s and resets")
    if clean and troubled:
        failed = sum(one["failed"] for one in found)
        text += f"At half the rate, with 5 % of the HSM's answers 429 and 5 % of its connections reset: {troubled / clean:.2f} of the rate without, {failed} handshakes failed.\n\n"
    plain, jobs = rate.get("HAProxy, 20 ms"), rate.get("HAProxy, async, 20 ms")
    if plain and jobs:
        text += f"HAProxy: asynchronous {jobs / plain:.1f} times the synchronous rate.\n\n"
    return text


def main():
    folder = Path(sys.argv[1])
    text = "# Measurements\n\n```\n" + (folder / "machine.txt").read_text() + "```\n\n"
    if (folder / "limits.md").exists():
        text += (folder / "limits.md").read_text()
    text += signatures(folder, "ec") + signatures(folder, "rsa") + signatures(folder, "ml-dsa") + signatures(folder, "ec-unchecked")
    text += signatures(folder, "ml-dsa-unchecked") + signatures(folder, "rsa-pkcs11")
    text += keys(folder) + renewal(folder) + start(folder) + loading(folder) + cost(folder) + servers(folder)
    skipped = (folder / "skipped.txt").read_text()
    if skipped:
        text += "## Skipped\n\n" + skipped
    (folder / "report.md").write_text(text)


main()
