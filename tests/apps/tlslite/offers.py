"""Offers a server one signature algorithm after the other and prints what came of each: offers.py PORT

A line for each offer: the version, the algorithm, and the algorithm that the server signed with, or its alert. Two servers that
behave alike print the same lines.
"""

import socket
import sys

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.errors import TLSLocalAlert, TLSRemoteAlert

HASHES = ["sha512", "sha384", "sha256", "sha224", "sha1"]
RSA_SCHEMES = ["pss", "pkcs1"]


def offers():
    """Settings that offer one algorithm each, with a name."""
    for version in [(3, 3), (3, 4)]:
        for scheme in RSA_SCHEMES:
            for digest in HASHES:
                if scheme == "pss" and digest in ("sha224", "sha1"):
                    continue
                yield version, f"rsa_{scheme}_{digest}", {"rsaSchemes": [scheme], "rsaSigHashes": [digest], "ecdsaSigHashes": []}
        for digest in HASHES:
            yield version, f"ecdsa_{digest}", {"rsaSchemes": [], "rsaSigHashes": [], "ecdsaSigHashes": [digest]}


def outcome(port, version, choice):
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = version
    settings.moreSigSchemes = []
    for name, value in choice.items():
        setattr(settings, name, value)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        connection = TLSConnection(plain)
        try:
            connection.handshakeClientCert(settings=settings, serverName="localhost")
        except TLSRemoteAlert as alert:
            return f"alert {alert.description} {alert}"
        except TLSLocalAlert as alert:
            return f"refused here: {alert}"
        except ValueError as error:
            return f"not to be offered: {error}"
        algorithm = connection.session.serverSigAlg if hasattr(connection.session, "serverSigAlg") else connection.serverSigAlg
        connection.close()
        return f"signed with {algorithm}"


def main():
    port = int(sys.argv[1])
    for version, name, choice in offers():
        print(f"TLS 1.{version[1] - 1} {name}: {outcome(port, version, choice)}")


main()
