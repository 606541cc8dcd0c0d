"""MongoDB's client-side field-level encryption: libmongocrypt makes data keys, and a key of an HSM or a vault wraps them.

The callback does what MongoDB's driver does for libmongocrypt, with a dictionary in place of the collection of data keys.
"""

import os
import socket
import ssl
import unittest
import uuid

import bson
from azure.identity import EnvironmentCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm
from pymongocrypt.errors import MongoCryptError
from pymongocrypt.mongocrypt import MongoCryptOptions
from pymongocrypt.synchronous.explicit_encrypter import ExplicitEncrypter
from pymongocrypt.synchronous.state_machine import MongoCryptCallback

DETERMINISTIC = "AEAD_AES_256_CBC_HMAC_SHA_512-Deterministic"
RANDOM = "AEAD_AES_256_CBC_HMAC_SHA_512-Random"
HOSTS = ("fabrikam.managedhsm.azure.net", "contoso.vault.azure.net")


class Driver(MongoCryptCallback):
    def __init__(self, data_keys):
        self.data_keys, self.asked = data_keys, []

    def kms_request(self, kms_context):
        host, port = kms_context.endpoint.rsplit(":", 1)
        self.asked.append(host)
        tls = ssl.create_default_context(cafile=os.environ["AKV_CA_FILE"])
        with socket.create_connection((host, int(port)), 20) as plain, tls.wrap_socket(plain, server_hostname=host) as connection:
            connection.sendall(kms_context.message)
            while kms_context.bytes_needed > 0:
                data = connection.recv(kms_context.bytes_needed)
                if not data:
                    raise OSError("the connection ended within an answer")
                kms_context.feed(data)

    def fetch_keys(self, filter):
        wanted = {bytes(one) for one in bson.decode(filter)["$or"][0]["_id"]["$in"]}
        yield from (key for key_id, key in self.data_keys.items() if key_id in wanted)

    def insert_data_key(self, data_key):
        key_id = bytes(bson.decode(data_key)["_id"])
        self.data_keys[key_id] = bytes(data_key)
        return key_id

    def bson_encode(self, doc):
        return bson.encode(doc)

    def collection_info(self, database, filter):
        raise NotImplementedError("explicit encryption has no schemas")

    mark_command = collection_info

    def close(self):
        pass


class FieldLevelEncryption(unittest.TestCase):
    def encrypter(self, data_keys, secret=os.environ["AZURE_CLIENT_SECRET"]):
        azure = {
            "tenantId": os.environ["AZURE_TENANT_ID"],
            "clientId": os.environ["AZURE_CLIENT_ID"],
            "clientSecret": secret,
        }
        driver = Driver(data_keys)
        made = ExplicitEncrypter(driver, MongoCryptOptions({"azure": azure}))
        self.addCleanup(made.close)
        return made, driver

    def wrapping_key(self, host):
        client = KeyClient(f"https://{host}", EnvironmentCredential())
        return client, client.create_rsa_key(f"mongo-{uuid.uuid4()}", size=2048)

    def test_fields_are_encrypted_with_a_data_key_that_the_service_wraps(self):
        plain = bson.encode({"v": "a secret"})
        for host in HOSTS:
            client, key = self.wrapping_key(host)
            for version in ({}, {"keyVersion": key.properties.version}):
                data_keys = {}
                encrypter, driver = self.encrypter(data_keys)
                wrapping, material = {"keyVaultEndpoint": host, "keyName": key.name, **version}, os.urandom(96)
                data_key = encrypter.create_data_key("azure", wrapping, key_material=material)
                self.assertEqual(driver.asked, ["login.microsoftonline.com", host])
                sealed = {how: encrypter.encrypt(plain, how, key_id=data_key) for how in (DETERMINISTIC, RANDOM)}
                self.assertNotIn(b"a secret", b"".join(sealed.values()))
                # Another process has the data key only as it is stored, and asks the service to unwrap it.
                other, driver = self.encrypter(data_keys)
                for value in sealed.values():
                    self.assertEqual(bson.decode(other.decrypt(value)), {"v": "a secret"})
                self.assertIn(host, driver.asked)
                wrapped = bson.decode(data_keys[data_key])["keyMaterial"]
                unwrapped = CryptographyClient(key, EnvironmentCredential()).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped)
                self.assertEqual(unwrapped.key, material)
            client.update_key_properties(key.name, enabled=False)
            with self.assertRaises(MongoCryptError) as caught:
                self.encrypter(data_keys)[0].decrypt(value)
            self.assertIn("disabled" if "vault" in host else "Forbidden", str(caught.exception))

    def test_what_is_refused_is_told(self):
        for host in HOSTS:
            with self.assertRaises(MongoCryptError) as caught:
                self.encrypter({})[0].create_data_key("azure", {"keyVaultEndpoint": host, "keyName": "nothing"})
            self.assertIn("KeyNotFound", str(caught.exception))
            with self.assertRaises(MongoCryptError) as caught:
                self.encrypter({}, "wrong")[0].create_data_key("azure", {"keyVaultEndpoint": host, "keyName": "nothing"})
            self.assertIn("invalid_client", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
