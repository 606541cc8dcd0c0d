"""Has nginx, by the provider and by the PKCS#11 module, and a program with threads use keys in an HSM for a long time, while tokens
end, keys rotate, nginx reloads, the HSM restarts and answers go wrong; and looks at what that costs in handshakes, memory,
descriptors and threads.

scripts/soak.sh runs it, and says what the options mean. It writes samples.csv and events.csv, and ends with status 1 if a handshake or a
signature failed, or if something grew.
"""

import argparse
import contextlib
import csv
import faulthandler
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

# Seconds between events of a kind.
FAULTS_EVERY, RELOAD_EVERY, ROTATE_EVERY, RESTART_EVERY = 5, 11, 26, 31
# Without one an HSM rotates no key.
ROTATION_POLICY = '{"lifetimeActions": [{"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P2Y"}}]}'
# And those that nginx has to read its files again.
RELOAD_TAKES = 3
TOKEN_LIFETIME = 20
# What a signature survives: it is asked for again.
FAULTS = [
    "throttled", "throttled-retry-after", "internal-error", "bad-gateway", "unavailable", "gateway-timeout",
    "request-timeout", "drop", "reset", "lost-answer", "half-body", "close", "close-idle,delay_ms=1",
    "slow-first-byte,delay_ms=200", "slow-body,delay_ms=200", "twice",
]
CONNECTION_FAULTS = ["connection-reset", "broken-handshake", "slow-handshake,delay_ms=200"]
# Growth from the second quarter of the run to the last that counts as such: a leak goes on, noise doesn't.
MORE_MEMORY, MORE_MEBIBYTES, MORE_DESCRIPTORS, MORE_THREADS = 1.15, 4, 8, 3
# Seconds that a program has to start or to end, and those after which this one tells where it waits. Requests give up after 30.
PATIENCE, WATCH = 90, 600


def say(text):
    print(text, flush=True)


class Hsm:
    """An emulator at a port that stays, with keys that stay."""

    def __init__(self, options, folder):
        self.program = options.target / "managed-hsm-emulator"
        self.akv = options.target / "akv"
        self.folder = folder
        self.port, self.control = reserved_port(), reserved_port()
        self.log = open(folder / "emulator.log", "ab")
        self.process = None
        self.environment = dict(os.environ)
        self.start()
        self.owner = self.exports("--expires-in", "864000")
        identity = self.exports("--identity")
        self.environment |= {name: value for name, value in identity.items() if name != "AZURE_CLI_ACCESS_TOKEN"}
        self.tls = ssl.create_default_context(cafile=self.owner["AKV_CA_FILE"])

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "serve", "--data-dir", self.folder / "hsm", "--port", str(self.port), "--control-port", str(self.control),
             "--token-lifetime", str(TOKEN_LIFETIME), "--latency-ms", "3,20"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)

    def exports(self, *options):
        command = [self.program, "env", "--data-dir", self.folder / "hsm", "--wait", "30", *options]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout
        lines = (line.removeprefix("export ") for line in printed.splitlines() if line.startswith("export "))
        return {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}

    def restart(self):
        """Killed and started again. Returns for how many seconds nobody listened."""
        self.process.kill()
        self.process.wait()
        gone = time.monotonic()
        self.start()
        while time.monotonic() - gone < PATIENCE:
            if self.process.poll() is not None:
                last = read(self.folder / "emulator.log").decode(errors="replace").splitlines()[-5:]
                raise RuntimeError(f"the emulator doesn't start: {' | '.join(last)}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return time.monotonic() - gone
            except OSError:
                time.sleep(0.01)
        raise RuntimeError(f"the emulator doesn't listen after {PATIENCE} s")

    def send(self, method, path, body):
        url = f"https://localhost:{self.port}{path}?api-version=7.4"
        headers = {"Authorization": f"Bearer {self.owner['AZURE_CLI_ACCESS_TOKEN']}", "Content-Type": "application/json"}
        # The owner's requests meet faults as well, and are not what is looked at.
        for _ in range(20):
            try:
                request = urllib.request.Request(url, body.encode(), headers, method=method)
                return urllib.request.urlopen(request, timeout=30, context=self.tls).read()
            except (OSError, ValueError):
                time.sleep(0.1)
        raise RuntimeError(f"{path} can't be done")

    def set_faults(self, faults):
        url = f"http://127.0.0.1:{self.control}/faults"
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10).read()
        for fault in faults:
            urllib.request.urlopen(urllib.request.Request(url, fault.encode(), method="POST"), timeout=10).read()

    def certify(self, key):
        """A key file for the newest version of a key, and a certificate: both or, with a problem, none."""
        for arguments, name in [
            (["key", "pem"], f"{key}.key"),
            (["cert", "self-signed", "--subject", "CN=localhost", "--san", "DNS:localhost"], f"{key}.crt"),
        ]:
            arguments.insert(2, f"managedhsm:MyHSM:{key}")
            try:
                made = subprocess.run([self.akv, *arguments], env=self.environment, capture_output=True, timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                return f"akv {' '.join(arguments)} doesn't end within {PATIENCE} s"
            if made.returncode != 0:
                return f"akv {' '.join(arguments)}: {made.stderr.decode(errors='replace').strip()}"
            (self.folder / f"{name}.new").write_bytes(made.stdout)
        for name in (f"{key}.key", f"{key}.crt"):
            os.replace(self.folder / f"{name}.new", self.folder / name)
        return None


RESERVED = []


def reserved_port():
    """A port that nobody else is given until the end, but a server that shares its address (SO_REUSEADDR), as nearly all do."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    # Not before: the system would give it to others who share, too.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    RESERVED.append(held)
    return held.getsockname()[1]


class Nginx:
    """Several workers, with an RSA and an EC certificate, in a folder with its openssl.cnf."""

    def __init__(self, hsm, folder, workers, key_of, log, further=()):
        self.folder, self.port, self.log = folder, reserved_port(), log
        (self.folder / "tmp").mkdir()
        temporary = "".join(f"{name}_temp_path {self.folder}/tmp; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self.environment = hsm.environment | dict(further)
        # nginx empties the environment unless it is told what to keep.
        names = [name for name in self.environment if name.startswith(("AZURE_", "AKV_", "OPENSSL_", "MHSM_"))]
        keep = "".join(f"env {name}; " for name in names)
        user = "user root; " if os.geteuid() == 0 else ""
        keys = "".join(f'ssl_certificate {self.folder}/{key}.crt; ssl_certificate_key "{key_of(key)}"; ' for key in ("ec", "rsa"))
        (self.folder / "nginx.conf").write_text(f"""
{user}{keep}pid {self.folder}/nginx.pid; error_log {self.log} warn; daemon off;
worker_processes {workers}; events {{ worker_connections 256; }}
http {{
    access_log off; {temporary} ssl_session_cache off; ssl_session_tickets off; ssl_protocols TLSv1.2 TLSv1.3;
    server {{
        listen 127.0.0.1:{self.port} ssl;
        {keys}
        location / {{ return 200 "ok"; }}
    }}
}}
""")
        environment = self.environment | {"OPENSSL_CONF": str(self.folder / "openssl.cnf")}
        self.process = subprocess.Popen(
            ["nginx", "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", self.log],
            env=environment, stdin=subprocess.DEVNULL)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit(f"nginx does not start: {self.log.read_text()}")

    def workers(self):
        """Those that serve, without those that a reload lets finish."""
        return [pid for pid in children(self.process.pid) if b"shutting down" not in read(f"/proc/{pid}/cmdline")]

    def reload(self):
        self.process.send_signal(signal.SIGHUP)


def by_provider(hsm):
    (hsm.folder / "openssl.cnf").write_bytes(
        subprocess.run([hsm.akv, "env"], env=hsm.environment, capture_output=True, check=True, timeout=PATIENCE).stdout)
    return Nginx(hsm, hsm.folder, 4, lambda key: f"{hsm.folder}/{key}.key", hsm.folder / "nginx.log")


def by_pkcs11(hsm, configuration):
    """By libp11's engine. Its certificates stay as they are while its keys rotate, and so do the versions that it signs with: their ids
    tell them, as the engine takes the last of several keys with one label."""
    folder = hsm.folder / "pkcs11"
    folder.mkdir()
    for key in ("rsa", "ec"):
        shutil.copy(hsm.folder / f"{key}.crt", folder)
    token = {"resourceName": "soak", "endpoint": f"https://localhost:{hsm.port}", "certificates": [f"{folder}/rsa.crt", f"{folder}/ec.crt"]}
    (folder / "mhsm-pkcs11.conf").write_text(json.dumps({"tokens": [token]}))
    shutil.copy(configuration, folder / "openssl.cnf")

    def uri(key):
        command = ["openssl", "x509", "-in", folder / f"{key}.crt", "-noout", "-ext", "subjectKeyIdentifier"]
        told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout
        return f"pkcs11:token=soak;id=%{told.split()[-1].replace(':', '%')};type=private;pin-value="

    further = {"MHSM_PKCS11_CONF": str(folder / "mhsm-pkcs11.conf")}
    return Nginx(hsm, folder, 2, lambda key: f"engine:pkcs11:{uri(key)}", hsm.folder / "nginx-pkcs11.log", further)


def read(path):
    try:
        return pathlib.Path(path).read_bytes()
    except OSError:
        return b""


def children(pid):
    return [int(child) for child in read(f"/proc/{pid}/task/{pid}/children").split()]


def waits(pid):
    """Where the threads of a process wait, each on a line."""
    if shutil.which("gdb"):
        command = ["gdb", "--batch", "--nx", "--pid", str(pid), "--eval-command", "thread apply all backtrace 40"]
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PATIENCE).stdout
        except subprocess.TimeoutExpired:
            pass
    threads = sorted(pathlib.Path(f"/proc/{pid}/task").glob("*"))
    return "".join(f"{read(thread / 'comm').decode().strip()}: {read(thread / 'wchan').decode()}\n" for thread in threads)


def end(name, process, number):
    """Has a program end by a signal. Returns a problem if it doesn't, having told where it and its children wait."""
    process.send_signal(number)
    try:
        process.wait(PATIENCE)
        return []
    except subprocess.TimeoutExpired:
        pids = [process.pid, *children(process.pid)]
        for pid in pids:
            say(f"{name}, process {pid}: {read(f'/proc/{pid}/cmdline').decode(errors='replace')}\n{waits(pid)}")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        return [f"{name} did not end within {PATIENCE} s"]


def look_at(pid):
    """Resident MiB, descriptors and threads of a process; None: it is gone."""
    lines = read(f"/proc/{pid}/status").decode().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    try:
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        return int(status["VmRSS"].split()[0]) / 1024, descriptors, int(status["Threads"])
    except (OSError, KeyError):
        return None


class Client:
    """Threads that shake hands with nginx, by turns for each certificate and protocol."""

    def __init__(self, port, threads):
        self.port, self.done, self.failures, self.stop = port, 0, [], threading.Event()
        self.lock, self.longest = threading.Lock(), 0.0
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(threads)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def contexts():
        for ciphers, version in [("ECDHE+aRSA", ssl.TLSVersion.TLSv1_2), ("ECDHE+aECDSA", ssl.TLSVersion.TLSv1_2),
                                 ("DEFAULT", ssl.TLSVersion.TLSv1_3)]:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # Who signed is not the question, and changes with each rotation; that it was signed is checked by TLS.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.minimum_version = context.maximum_version = version
            context.set_ciphers(ciphers)
            yield context

    def run(self, number):
        contexts = list(self.contexts())
        while not self.stop.is_set():
            context = contexts[number % len(contexts)]
            number += 1
            began = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", self.port), 60) as raw, context.wrap_socket(raw) as tls:
                    tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    if not tls.recv(64).startswith(b"HTTP/1.1 200"):
                        raise OSError("no page")
                with self.lock:
                    self.done += 1
                    self.longest = max(self.longest, time.monotonic() - began)
            except OSError as error:
                with self.lock:
                    self.failures.append((time.time(), repr(error)))
            self.stop.wait(0.05)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


class Signer:
    """A long-lived program whose threads sign."""

    def __init__(self, program, hsm):
        keys = ["managedhsm:MyHSM:rsa", "managedhsm:MyHSM:ec"]
        self.errors = open(hsm.folder / "signer.log", "wb")
        self.process = subprocess.Popen([program, "4", *keys], env=hsm.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)
        self.signatures = self.failures = 0
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.signatures, self.failures = map(int, line.split())


COLUMNS = ["seconds", "handshakes", "handshake_failures", "pkcs11_handshakes", "pkcs11_handshake_failures", "signatures", "signature_failures"]
WATCHED = ["nginx_master", "nginx_worker", "pkcs11_master", "pkcs11_worker", "signer", "emulator"]
for name in WATCHED:
    COLUMNS += [f"{name}_mebibytes", f"{name}_descriptors", f"{name}_threads"]


def largest_worker(nginx):
    """It stands for all of them."""
    workers = [seen for seen in map(look_at, nginx.workers()) if seen]
    return tuple(map(max, zip(*workers))) if workers else None


def sample(seconds, servers, clients, signer, hsm):
    counts = [count for client in clients for count in (client.done, len(client.failures))]
    row = dict(zip(COLUMNS, [round(seconds, 1), *counts, signer.signatures, signer.failures]))
    seen = [one for nginx in servers for one in (look_at(nginx.process.pid), largest_worker(nginx))]
    seen += [look_at(signer.process.pid), look_at(hsm.process.pid)]
    for name, one in zip(WATCHED, seen):
        for what, value in zip(["mebibytes", "descriptors", "threads"], one or ("", "", "")):
            row[f"{name}_{what}"] = round(value, 1) if value != "" else ""
    return row


def growth(rows):
    """What grew from the second quarter to the last, among the processes that live as long as the run."""
    problems = []
    quarter = len(rows) // 4
    early, late = rows[quarter:2 * quarter], rows[-quarter:]
    for name in WATCHED[:-1]:
        def of(part, what):
            return [row[f"{name}_{what}"] for row in part if row[f"{name}_{what}"] != ""]

        before, after = (statistics.median(of(part, "mebibytes")) for part in (early, late))
        say(f"{name}: {before:.1f} MiB in the second quarter, {after:.1f} in the last; "
            f"at most {max(of(early, 'descriptors'))}, then {max(of(late, 'descriptors'))} descriptors, "
            f"{max(of(early, 'threads'))}, then {max(of(late, 'threads'))} threads")
        if after > before * MORE_MEMORY + MORE_MEBIBYTES:
            problems.append(f"the memory of {name} grew from {before:.1f} to {after:.1f} MiB")
        for what, more in [("descriptors", MORE_DESCRIPTORS), ("threads", MORE_THREADS)]:
            if max(of(late, what)) > max(of(early, what)) + more:
                problems.append(f"the {what} of {name} grew from {max(of(early, what))} to {max(of(late, what))}")
    return problems


def judge(name, client, log):
    """What is wrong about a server's handshakes and in its log."""
    problems = []
    if client.done == 0:
        problems.append(f"{name} did nothing")
    if client.failures:
        problems.append(f"{len(client.failures)} handshakes of {name} failed")
        for at, error in client.failures[:10]:
            say(f"  {time.strftime('%H:%M:%S', time.localtime(at))} {error}")
    bad = [line for line in log.splitlines() if "[alert]" in line or "[emerg]" in line or "exited on signal" in line]
    if bad:
        problems.append(f"the log of {name} has " + " | ".join(bad[:5]))
    return problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--target", type=pathlib.Path, required=True)
    parser.add_argument("--signer", type=pathlib.Path, required=True)
    parser.add_argument("--engine-conf", type=pathlib.Path, required=True, help="an openssl.cnf with libp11's engine")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    say(f"seed: {options.seed}")
    faulthandler.dump_traceback_later(options.seconds + WATCH)

    hsm = Hsm(options, options.folder)
    hsm.send("POST", "/keys/rsa/create", '{"kty":"RSA-HSM","key_size":2048}')
    hsm.send("POST", "/keys/ec/create", '{"kty":"EC-HSM","crv":"P-256"}')
    for key in ("rsa", "ec"):
        if problem := hsm.certify(key):
            sys.exit(problem)
    servers = {"nginx": by_provider(hsm), "nginx by PKCS#11": by_pkcs11(hsm, options.engine_conf)}
    signer = Signer(options.signer, hsm)
    clients = {name: Client(nginx.port, threads) for (name, nginx), threads in zip(servers.items(), (8, 4))}

    def reload():
        for nginx in servers.values():
            nginx.reload()

    began, rows, events, problems = time.monotonic(), [], [], []
    every = max(1.0, options.seconds / 600)
    due = {"faults": 2, "reload": RELOAD_EVERY, "rotate": ROTATE_EVERY, "restart": RESTART_EVERY, "sample": 0}

    def note(kind, text):
        events.append((round(time.monotonic() - began, 1), kind, text))

    try:
        while (now := time.monotonic() - began) < options.seconds:
            kind = min(due, key=due.get)
            if due[kind] > now:
                time.sleep(min(due[kind] - now, 1))
                continue
            if kind == "sample":
                rows.append(sample(now, servers.values(), clients.values(), signer, hsm))
                due[kind] = now + every
            elif kind == "faults":
                faults = [f"{fault},operation=sign,share=0.03" for fault in chance.sample(FAULTS, 2)]
                faults.append(f"{chance.choice(CONNECTION_FAULTS)},share=0.03")
                hsm.set_faults(faults)
                note(kind, " ".join(faults))
                due[kind] = now + FAULTS_EVERY
            elif kind == "reload":
                reload()
                note(kind, "")
                due[kind] = now + RELOAD_EVERY
            elif kind == "rotate" and now < (ready := due["reload"] - RELOAD_EVERY + RELOAD_TAKES):
                # nginx would read the new key file, and the certificate of the key before.
                due[kind] = ready
            elif kind == "rotate":
                key = chance.choice(["rsa", "ec"])
                hsm.set_faults([])
                hsm.send("PUT", f"/keys/{key}/rotationpolicy", ROTATION_POLICY)
                hsm.send("POST", f"/keys/{key}/rotate", "")
                problem = hsm.certify(key)
                problems += [problem] if problem else []
                reload()
                note(kind, problem or key)
                due[kind] = now + ROTATE_EVERY
            elif kind == "restart":
                note(kind, f"nobody listened for {hsm.restart():.2f} s")
                due[kind] = now + RESTART_EVERY
            if any(program.process.poll() is not None for program in (*servers.values(), signer)):
                problems.append("nginx or the signer ended")
                break
        hsm.set_faults([])
    finally:
        for client in clients.values():
            client.end()
        problems += end("the signer", signer.process, signal.SIGTERM)
        for name, nginx in servers.items():
            problems += end(name, nginx.process, signal.SIGQUIT)
        hsm.process.kill()
        hsm.process.wait()
        with open(options.out / "samples.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        with open(options.out / "events.csv", "w", newline="") as file:
            csv.writer(file).writerows([("seconds", "kind", "what"), *events])

    counts = {kind: sum(event[1] == kind for event in events) for kind in ("reload", "rotate", "restart", "faults")}
    downs = [float(event[2].split()[-2]) for event in events if event[1] == "restart"]
    tokens = (options.folder / "emulator.log").read_text().count("/oauth2/v2.0/token status=200")
    say(f"{time.monotonic() - began:.0f} s: {signer.signatures} signatures of the program, {signer.failures} failed")
    say(f"{counts['reload'] + counts['rotate']} reloads, {counts['rotate']} rotations, {counts['restart']} restarts "
        f"(at most {max(downs, default=0):.2f} s), {counts['faults']} changes of faults, {tokens} tokens")
    for name, client in clients.items():
        say(f"{name}: {client.done} handshakes, {len(client.failures)} failed, the longest took {client.longest:.1f} s")
        problems += judge(name, client, servers[name].log.read_text())
    if signer.failures:
        problems.append(f"{signer.failures} signatures failed: {(options.folder / 'signer.log').read_text()[:2000]}")
    if signer.process.returncode not in (0, 1):
        problems.append(f"the signer ended with {signer.process.returncode}")
    if signer.signatures == 0:
        problems.append("the signer did nothing")
    if len(rows) >= 40:
        problems += growth(rows)
    else:
        say("Too short to tell what grows.")
    for problem in problems:
        say(f"FAILED: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
