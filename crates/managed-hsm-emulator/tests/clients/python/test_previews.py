"""What the service and the pre-release of azure-keyvault-keys have as a preview: external keys, sizes of symmetric keys, secure wrap
and unwrap. ML-DSA, which the library has no methods for yet, is asked for through its client.
"""

import base64
import json
import os
import ssl
import unittest
import urllib.request

from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from azure.keyvault.administration import KeyVaultEkmClient, KeyVaultEkmConnection, KeyVaultEkmConnectivityMode
from azure.keyvault.keys import ExternalKey, KeyOperation, KeyReleasePolicy
from azure.keyvault.keys.crypto import KeySecureWrapAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import mldsa, padding, rsa

import judge
from service import OCT_SIZES, OWNER, VAULT, Recorder, key_client, name, remote_only

ML_DSA = {"ML-DSA-44": mldsa.MLDSA44PublicKey, "ML-DSA-65": mldsa.MLDSA65PublicKey, "ML-DSA-87": mldsa.MLDSA87PublicKey}


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def integer(number):
    return encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def attested(key):
    """A token by the emulator's own authority for the environment with this public key."""
    numbers = key.public_key().public_numbers()
    wanted = {"key": {"kty": "RSA", "n": integer(numbers.n), "e": integer(numbers.e)}}
    url = os.environ["AZURE_MANAGEDHSM_URL"] + "/generate-test-token"
    tls = ssl.create_default_context(cafile=os.environ["AKV_CA_FILE"])
    with urllib.request.urlopen(url, json.dumps(wanted).encode(), context=tls) as answer:
        return json.load(answer)["token"]


def received(key, given):
    """What the environment makes of the result of an unwrapping."""
    encrypted, wrapped = given[:256], given[256:]
    how = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    return keywrap.aes_key_unwrap_with_padding(key.decrypt(encrypted, how), wrapped)


class Previews(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = key_client()

    def test_an_external_key_is_registered_shown_and_used(self):
        key_name = name()
        made = self.client.create_external_key(key_name, ExternalKey(id="external-key-reference-id"), tags={"a": "b"})
        for key in (made, self.client.get_key(key_name)):
            self.assertEqual(key.properties.external_key.id, "external-key-reference-id")
            self.assertEqual((key.key_type, key.properties.key_size), ("oct-HSM", 256))
            self.assertEqual(key.properties.tags, {"a": "b"})
        listed = {key.name: key.external_key for key in self.client.list_properties_of_keys()}
        self.assertEqual(listed[key_name].id, "external-key-reference-id")
        client = remote_only(made)
        wrapped = client.wrap_key(KeyWrapAlgorithm.aes_256, bytes(16)).encrypted_key
        self.assertEqual(client.unwrap_key(KeyWrapAlgorithm.aes_256, wrapped).key, bytes(16))
        signs = self.client.create_external_key(name(), ExternalKey(id="rsa-1"))
        signature = remote_only(signs).sign(SignatureAlgorithm.ps256, bytes(32)).signature
        self.assertTrue(judge.verifies(signs.key, "PS256", bytes(32), signature))
        for bad in ("", "under_score", "a" * 65):
            with self.assertRaises(HttpResponseError):
                self.client.create_external_key(name(), ExternalKey(id=bad))
        self.assertIsNone(self.client.create_ec_key(name()).properties.external_key)

    def test_an_external_key_manager_is_connected(self):
        client = Recorder(KeyVaultEkmClient(VAULT, OWNER))
        with open(os.environ["AKV_CA_FILE"], encoding="ascii") as file:
            ca = ssl.PEM_cert_to_DER_cert(file.read())
        self.assertEqual([bytes(one) for one in client.get_ekm_certificate().ca_certificates], [ca])
        with self.assertRaises(HttpResponseError) as caught:
            client.get_ekm_connection()
        self.assertEqual(caught.exception.status_code, 404)
        begun = client.begin_create_ekm_private_endpoint("proxy", "an-alias").result()
        self.assertEqual(begun.private_endpoint_name, "proxy")
        self.assertEqual(client.get_ekm_private_endpoint_operation_status(begun.job_id).status, "Succeeded")
        self.assertEqual(client.get_ekm_private_endpoint("proxy").properties.private_link_service_id, "an-alias")
        self.assertEqual([one.name for one in client.list_ekm_private_endpoints()], ["proxy"])
        made = client.create_ekm_connection(
            KeyVaultEkmConnection(
                host="proxy", server_ca_certificates=[ca], connectivity_mode=KeyVaultEkmConnectivityMode.PRIVATE_ENDPOINT
            )
        )
        made.path_prefix = "/api/v1"
        client.update_ekm_connection(made)
        found = client.get_ekm_connection()
        self.assertEqual((found.host, found.path_prefix, bytes(found.server_ca_certificates[0])), ("proxy", "/api/v1", ca))
        self.assertTrue(client.check_ekm_connection().ekm_product)
        with self.assertRaises(HttpResponseError) as caught:
            client.begin_delete_ekm_private_endpoint("proxy")
        self.assertEqual(caught.exception.status_code, 409)
        self.assertEqual(client.delete_ekm_connection().host, "proxy")
        client.begin_delete_ekm_private_endpoint("proxy").result()
        self.assertEqual(list(client.list_ekm_private_endpoints()), [])

    def test_the_size_of_a_symmetric_key_is_told(self):
        for size in OCT_SIZES:
            key = self.client.create_oct_key(name(), size=size)
            self.assertEqual(key.properties.key_size, size)
        self.assertIsNone(self.client.create_rsa_key(name()).properties.key_size)

    def test_keys_are_wrapped_securely_with_every_algorithm(self):
        authority = os.environ["AZURE_MANAGEDHSM_URL"] + "/"
        policy = {"version": "1.0.0", "anyOf": [{"authority": authority, "anyOf": [{"claim": "sdk-test", "equals": True}]}]}
        options = {
            "release_policy": KeyReleasePolicy(json.dumps(policy).encode()),
            "key_operations": [KeyOperation.secure_wrap_key, KeyOperation.secure_unwrap_key],
        }
        rsa_key = self.client.create_rsa_key(name(), hardware_protected=True, **options)
        self.assertEqual(rsa_key.key_operations, ["secureWrapKey", "secureUnwrapKey"])
        oct_keys = {size: self.client.create_oct_key(name(), size=size, **options) for size in OCT_SIZES}
        environment = rsa.generate_private_key(65537, 2048)
        token = attested(environment)
        for algorithm in KeySecureWrapAlgorithm:
            sizes = [size for size in OCT_SIZES if algorithm.value.startswith(f"A{size}")]
            key = rsa_key if algorithm is KeySecureWrapAlgorithm.rsa_oaep_256 else oct_keys[sizes[0] if sizes else 192]
            client = remote_only(key)
            wrapped = client.secure_wrap_key(algorithm)
            self.assertEqual((wrapped.key_id, wrapped.algorithm), (key.id, algorithm))
            given = client.secure_unwrap_key(algorithm, wrapped.encrypted_key, token)
            self.assertEqual((given.key_id, given.algorithm), (key.id, algorithm))
            self.assertEqual(len(received(environment, given.key)), 32)
            with self.assertRaises(HttpResponseError) as raised:
                client.secure_unwrap_key(algorithm, wrapped.encrypted_key, "not an attestation")
            self.assertEqual(raised.exception.status_code, 403)
        with self.assertRaises(HttpResponseError) as raised:
            remote_only(self.client.create_rsa_key(name())).secure_wrap_key(KeySecureWrapAlgorithm.rsa_oaep_256)
        self.assertEqual(raised.exception.status_code, 403)

    def test_keys_of_ml_dsa_live_and_sign_in_the_version_that_has_them(self):
        client = key_client(api_version="2026-05-01-preview")
        message, context = b"message", b"context"

        def asked(path, **body):
            answer = client.send_request(HttpRequest("POST", path, json=body))
            answer.raise_for_status()
            return answer.json()

        for algorithm, kind in ML_DSA.items():
            key_name = name()
            made = asked(f"keys/{key_name}/create", kty="AKP-HSM", alg=algorithm)["key"]
            public = kind.from_public_bytes(decode(made["pub"]))
            signed = asked(f"keys/{key_name}/sign", value=encode(message), context=encode(context))
            public.verify(decode(signed["value"]), message, context)
            mu = mldsa.MLDSAMuHasher(public, context)
            mu.update(message)
            mu = mu.finalize()
            signed = asked(f"keys/{key_name}/sign", external_mu=encode(mu))
            public.verify(decode(signed["value"]), message, context)
            self.assertTrue(asked(f"keys/{key_name}/verify", external_mu=encode(mu), value=signed["value"])["value"])
            # The library's own methods take such a key as one of a type that they do not know.
            key = client.get_key(key_name)
            self.assertEqual((key.key_type, key.key_operations), ("AKP-HSM", ["sign", "verify"]))
            backup = client.backup_key(key_name)
            client.begin_delete_key(key_name).wait()
            client.purge_deleted_key(key_name)
            self.assertEqual(client.restore_key_backup(backup).id, key.id)
