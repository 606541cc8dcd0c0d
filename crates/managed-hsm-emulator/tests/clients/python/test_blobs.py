"""azure-storage-blob's client-side encryption in Azurite's storage: a key of an HSM or a vault wraps what blobs are encrypted with."""

import os
import unittest
import uuid

from azure.core.exceptions import HttpResponseError
from azure.identity import EnvironmentCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm
from azure.storage.blob import BlobServiceClient

HOSTS = ("fabrikam.managedhsm.azure.net", "contoso.vault.azure.net")
CONTENTS = b"a secret " * 700_000


class KeyEncryptionKey:
    """What azure-storage-blob asks of a key, as Microsoft's documents have it."""

    def __init__(self, key):
        self.client = CryptographyClient(key, EnvironmentCredential())
        self.unwrapped = 0

    def get_kid(self):
        return self.client.key_id

    def get_key_wrap_algorithm(self):
        return KeyWrapAlgorithm.rsa_oaep_256.value

    def wrap_key(self, key):
        return self.client.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, key).encrypted_key

    def unwrap_key(self, key, algorithm):
        self.unwrapped += 1
        return self.client.unwrap_key(KeyWrapAlgorithm(algorithm), key).key


class Blobs(unittest.TestCase):
    def setUp(self):
        self.service = BlobServiceClient.from_connection_string(os.environ["AZURITE_CONNECTION"])
        self.addCleanup(self.service.close)
        self.container = f"container-{uuid.uuid4()}"
        self.service.create_container(self.container)

    def blob(self, name, key=None):
        options = {"require_encryption": True, "key_encryption_key": key, "encryption_version": "2.0"} if key else {}
        service = BlobServiceClient.from_connection_string(os.environ["AZURITE_CONNECTION"], **options)
        self.addCleanup(service.close)
        return service.get_blob_client(self.container, name)

    def test_a_blob_is_encrypted_and_no_other_key_decrypts_it(self):
        for host in HOSTS:
            client = KeyClient(f"https://{host}", EnvironmentCredential())
            key, other = (client.create_rsa_key(f"blob-{uuid.uuid4()}", size=3072) for _ in range(2))
            name = host
            self.blob(name, KeyEncryptionKey(key)).upload_blob(CONTENTS)
            stored = self.blob(name).download_blob().readall()
            self.assertGreater(len(stored), len(CONTENTS))
            self.assertNotIn(b"a secret", stored)
            unwraps = KeyEncryptionKey(client.get_key(key.name))
            self.assertEqual(self.blob(name, unwraps).download_blob().readall(), CONTENTS)
            self.assertEqual(self.blob(name, unwraps).download_blob(5, 20).readall(), CONTENTS[5:25])
            self.assertGreaterEqual(unwraps.unwrapped, 2)
            # Without a request: the blob's metadata name the key.
            another = KeyEncryptionKey(other)
            with self.assertRaisesRegex(HttpResponseError, "Decryption failed"):
                self.blob(name, another).download_blob().readall()
            self.assertEqual(another.unwrapped, 0)
            # A key that claims to be the one, and isn't: now it is the service that refuses.
            liar = KeyEncryptionKey(other)
            liar.get_kid = lambda: key.id
            with self.assertRaises(HttpResponseError):
                self.blob(name, liar).download_blob().readall()
            self.assertGreaterEqual(liar.unwrapped, 1)


if __name__ == "__main__":
    unittest.main()
