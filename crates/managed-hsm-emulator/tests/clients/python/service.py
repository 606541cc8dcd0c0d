"""Clients of the emulated HSM that note which of their methods the tests call.

The environment is that of `managed-hsm-emulator env --identity`. Names of the service's own domain are led to the emulator's
address and port, so that the libraries see a host that they trust; not where HSM_AT_443 says that one leads there by itself.
"""

import functools
import os
import socket
import uuid
from urllib.parse import urlparse

from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient

ENDPOINT = urlparse(os.environ["AZURE_MANAGEDHSM_URL"])
OWN_NAME = os.environ.get("HSM_AT_443")
VAULT = OWN_NAME or "https://pythonhsm.managedhsm.azure.net"
TENANT = os.environ["AZURE_TENANT_ID"]

resolve = socket.getaddrinfo


def resolve_here(host, port, *arguments, **options):
    if str(host).endswith(".managedhsm.azure.net"):
        host, port = "127.0.0.1", ENDPOINT.port
    return resolve(host, port, *arguments, **options)


if OWN_NAME is None:
    socket.getaddrinfo = resolve_here


class Recorder:
    """A client, or a class of clients, whose public methods and properties are noted in CALLED when a test uses them.

    What the library calls by itself is not noted.
    """

    CALLED = set()

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        kind = self._client if isinstance(self._client, type) else type(self._client)
        value = getattr(self._client, name)

        def note():
            Recorder.CALLED.add((kind.__name__, name))

        if not callable(value):
            note()
            return value

        @functools.wraps(value)
        def noted(*arguments, **options):
            note()
            result = value(*arguments, **options)
            return Recorder(result) if isinstance(result, CryptographyClient) else result

        return noted


def public_members(kind):
    return {member for member in dir(kind) if not member.startswith("_")}


def credential(client=None, secret=None, tenant=TENANT):
    return ClientSecretCredential(
        tenant,
        client or os.environ["AZURE_CLIENT_ID"],
        secret or os.environ["AZURE_CLIENT_SECRET"],
        authority=os.environ.get("AZURE_AUTHORITY_HOST"),
        disable_instance_discovery=True,
    )


OWNER = credential()
USER = os.environ["TEST_USER_OBJECT_ID"]


def user_credential():
    return credential(os.environ["TEST_USER_CLIENT_ID"], os.environ["TEST_USER_SECRET"])


def key_client(who=OWNER, **options):
    return Recorder(KeyClient(VAULT, who, **options))


def local_first(key, who=OWNER):
    """A client that does by itself what takes the public key only."""
    return Recorder(CryptographyClient(key, who))


def remote_only(key, who=OWNER):
    """A client that asks the HSM for all of it, and computes nothing by itself.

    Symmetric keys need it: where the HSM keeps a key to itself, azure-keyvault-keys 4.11.3 makes up a random one, and encrypts or
    wraps with that.
    """
    client = CryptographyClient(key.id, who)
    client._keys_get_forbidden = True
    return Recorder(client)


def name():
    return f"key-{uuid.uuid4()}"


RSA_SIZES = (2048, 3072, 4096)
OCT_SIZES = (128, 192, 256)
CURVES = ("P-256", "P-256K", "P-384", "P-521")

# How keys of every kind are made: the client's method, and its options.
KINDS = (
    [("create_rsa_key", {"size": size}) for size in RSA_SIZES]
    + [("create_ec_key", {"curve": curve}) for curve in CURVES]
    + [("create_oct_key", {"size": size}) for size in OCT_SIZES]
)


def create(client, method, options, key_name=None, **more):
    return getattr(client, method)(key_name or name(), hardware_protected=True, **options, **more)
