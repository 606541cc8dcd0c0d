#!/usr/bin/env python3
"""How long the first TLS handshakes take after nginx was reloaded, with and without connections that its workers open ahead.

    first_handshakes.py FOLDER MILLISECONDS ROUNDS

The folder has nginx's key and certificate, ec.key and hsm.crt. The environment leads to the HSM, by a login, and has OPENSSL_CONF.
The link to the HSM takes MILLISECONDS there and back. Prints a line of JSON for each number of connections ahead: the first
handshake after a reload and the next, in the middle of ROUNDS.
"""

import getpass
import json
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit


def pump(source, sink, delay):
    """Hands on what comes, `delay` seconds later, in its order."""
    try:
        while data := source.recv(65536):
            time.sleep(delay)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


def slow_link(target, delay):
    """A port that leads to `target`; each direction takes `delay` seconds."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            near = listener.accept()[0]
            far = socket.create_connection(target)
            for link in (near, far):
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for ends in ((near, far), (far, near)):
                threading.Thread(target=pump, args=(*ends, delay), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def handshake_ms(path, context):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        began = time.monotonic()
        with context.wrap_socket(connection, server_hostname="localhost"):
            return (time.monotonic() - began) * 1000


def worker_of(master):
    """The newest child, once it is the only one."""
    while len(children := subprocess.run(["pgrep", "--parent", str(master)], capture_output=True, text=True).stdout.split()) != 1:
        time.sleep(0.01)
    return children[0]


def measure(folder, ahead, environment, rounds):
    at = f"{folder}/ahead-{ahead}"
    # Only this user reads the emulator's CA, and nginx gives up root.
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    with open(f"{at}.conf", "w", encoding="utf-8") as file:
        file.write(f"daemon off; worker_processes 1; pid {at}.pid; error_log {at}.log; {user} events {{}} http {{ access_log off;\n")
        for place in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            file.write(f"{place}_temp_path {folder}/tmp;\n")
        file.write(f"server {{ listen unix:{at}.socket ssl; ssl_certificate {folder}/hsm.crt; ssl_certificate_key {folder}/ec.key; }} }}\n")
    context = ssl.create_default_context(cafile=f"{folder}/hsm.crt")
    command = ["nginx", "-p", folder, "-e", f"{at}.log", "-c", f"{at}.conf"]
    nginx = subprocess.Popen(command, env=environment | {"AKV_CONNECTIONS_AHEAD": str(ahead)})
    try:
        while not os.path.exists(f"{at}.socket"):
            time.sleep(0.01)
        times = []
        for _ in range(rounds):
            before = worker_of(nginx.pid)
            nginx.send_signal(signal.SIGHUP)
            while worker_of(nginx.pid) == before:
                time.sleep(0.01)
            time.sleep(0.5)
            times.append((handshake_ms(f"{at}.socket", context), handshake_ms(f"{at}.socket", context)))
    finally:
        nginx.terminate()
        nginx.wait()
    first, second = (round(statistics.median(column), 1) for column in zip(*times))
    return {"connections_ahead": ahead, "first_ms": first, "next_ms": second}


def main():
    folder, milliseconds, rounds = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    environment = dict(os.environ)
    target = urlsplit(environment["AZURE_MANAGEDHSM_URL"])
    port = slow_link((target.hostname, target.port), milliseconds / 2000)
    for name in ("AZURE_MANAGEDHSM_URL", "AZURE_AUTHORITY_HOST"):
        environment[name] = environment[name].replace(f":{target.port}", f":{port}")
    for ahead in (0, 1):
        print(json.dumps({"round_trip_ms": milliseconds} | measure(folder, ahead, environment, rounds)), flush=True)


main()
