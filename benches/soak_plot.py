"""Draws samples.csv of a soak: python3 benches/soak_plot.py FOLDER writes soak.svg there."""

import csv
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)

folder = pathlib.Path(sys.argv[1])
rows = list(csv.DictReader(open(folder / "samples.csv", newline="")))
events = list(csv.DictReader(open(folder / "events.csv", newline="")))
minutes = [float(row["seconds"]) / 60 for row in rows]


def values(column):
    return [float(row[column]) if row[column] else float("nan") for row in rows]


figure, axes = plt.subplots(4, 1, figsize=(9, 11), sharex=True, layout="constrained")
done, signed = axes[0], axes[0].twinx()
done.plot(minutes, values("handshakes"), label="handshakes")
done.plot(minutes, values("pkcs11_handshakes"), label="handshakes by PKCS#11")
done.plot(minutes, values("signatures"), label="signatures of a program")
done.set_ylabel("so far")
signed.plot(minutes, values("handshake_failures"), color="tab:red", label="failed handshakes")
signed.plot(minutes, values("pkcs11_handshake_failures"), color="tab:orange", linestyle=":", label="failed handshakes by PKCS#11")
signed.plot(minutes, values("signature_failures"), color="tab:purple", linestyle="--", label="failed signatures")
signed.set_ylabel("failures")
signed.set_ylim(bottom=0, top=max(1, *values("handshake_failures"), *values("pkcs11_handshake_failures"), *values("signature_failures")))
done.legend(loc="upper left")
signed.legend(loc="lower right")
for axis, what, label in zip(axes[1:], ("mebibytes", "descriptors", "threads"), ("resident memory, MiB", "descriptors", "threads")):
    for name, shown in (("nginx_master", "nginx, master"), ("nginx_worker", "nginx, largest worker"),
                        ("pkcs11_master", "nginx by PKCS#11, master"), ("pkcs11_worker", "nginx by PKCS#11, largest worker"),
                        ("signer", "program with 8 threads")):
        axis.plot(minutes, values(f"{name}_{what}"), label=shown)
    axis.set_ylabel(label)
    axis.set_ylim(bottom=0)
    axis.legend(loc="lower right")
for event in events:
    if event["kind"] == "restart":
        for axis in axes:
            axis.axvline(float(event["seconds"]) / 60, color="lightgrey", linewidth=0.6, zorder=0)
axes[-1].set_xlabel("minutes (grey: the HSM restarts)")
figure.savefig(folder / "soak.svg", metadata={"Date": None})
