"""Azurite's storage: azure-storage-blob encrypts there what a key of an HSM or a vault wraps the keys of, and the HSM lays its full
backups there.
"""

import datetime
import os
import unittest
import uuid

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import EnvironmentCredential
from azure.keyvault.administration import KeyVaultBackupClient
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

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


class Backups(unittest.TestCase):
    """Full backups and restores, where the HSM reaches the storage by a shared access signature that the storage checks."""

    def setUp(self):
        self.service = BlobServiceClient.from_connection_string(os.environ["AZURITE_CONNECTION"])
        self.addCleanup(self.service.close)
        self.container = self.service.create_container(f"backups-{uuid.uuid4()}")
        self.hsm = f"https://{HOSTS[0]}"
        self.client = KeyVaultBackupClient(self.hsm, EnvironmentCredential())
        self.addCleanup(self.client.close)
        self.keys = KeyClient(self.hsm, EnvironmentCredential())
        self.addCleanup(self.keys.close)

    def token(self, permissions, hours=1):
        return generate_container_sas(
            self.service.account_name,
            self.container.container_name,
            account_key=self.service.credential.account_key,
            permission=ContainerSasPermissions.from_string(permissions),
            expiry=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours),
        )

    def test_a_backup_lies_in_the_container_and_is_restored_from_it(self):
        url, token = self.container.url, self.token("rwdlac")
        key, other = (self.keys.create_rsa_key(f"backed-up-{uuid.uuid4()}") for _ in range(2))
        self.client.begin_pre_backup(url, sas_token=token).wait()
        folder = self.client.begin_backup(url, sas_token=token).result().folder_url
        self.assertRegex(folder, f"^{url}/mhsm-")
        name = folder.rsplit("/", 1)[1]
        blobs = [blob.name for blob in self.container.list_blobs(name_starts_with=f"{name}/")]
        self.assertTrue(blobs)
        stored = b"".join(self.container.download_blob(blob).readall() for blob in blobs)
        self.assertGreater(len(stored), 100)
        self.assertNotIn(key.name.encode(), stored)
        later = self.keys.create_ec_key(f"later-{uuid.uuid4()}")
        self.keys.begin_delete_key(key.name).wait()
        self.client.begin_pre_restore(folder, sas_token=token).wait()
        self.client.begin_restore(folder, sas_token=token).wait()
        for one in (key, other):
            self.assertEqual(self.keys.get_key(one.name).key.n, one.key.n)
        with self.assertRaises(ResourceNotFoundError):
            self.keys.get_key(later.name)
        self.keys.begin_delete_key(key.name).wait()
        self.keys.purge_deleted_key(key.name)
        self.client.begin_restore(folder, key_name=key.name, sas_token=token).wait()
        self.assertEqual(self.keys.get_key(key.name).key.n, key.key.n)

    def test_what_the_storage_refuses_fails_and_leaves_nothing(self):
        url = self.container.url
        good = self.token("rwdlac")
        for bad in (self.token("rl"), self.token("rwdlac", hours=-1), good[:-8] + "AAAAAA%3D", "sv=2021-06-08"):
            with self.assertRaises(HttpResponseError):
                self.client.begin_backup(url, sas_token=bad).result()
        with self.assertRaises(HttpResponseError):
            self.client.begin_restore(f"{url}/mhsm-none", sas_token=good).result()
        with self.assertRaises(HttpResponseError):
            self.client.begin_backup(f"{url}-none", sas_token=good).result()
        self.assertEqual(list(self.container.list_blobs()), [])


if __name__ == "__main__":
    unittest.main()
