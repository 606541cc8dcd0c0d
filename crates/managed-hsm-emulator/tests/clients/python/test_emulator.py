"""Microsoft's Python libraries against the emulator, over HTTPS with normal verification.

The environment is that of `managed-hsm-emulator env --identity`. Names of the service's own domain lead to the emulator's
address and port, so that the libraries see a host that they trust.
"""

import base64
import hashlib
import json
import os
import socket
import ssl
import unittest
import urllib.request
import uuid
from urllib.parse import urlparse

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity import ClientSecretCredential, ManagedIdentityCredential
from azure.keyvault.administration import (
    ApiVersion,
    KeyVaultAccessControlClient,
    KeyVaultDataAction,
    KeyVaultPermission,
    KeyVaultRoleScope,
    KeyVaultSettingsClient,
)
from azure.keyvault.keys import (
    KeyClient,
    KeyExportEncryptionAlgorithm,
    KeyReleasePolicy,
    KeyRotationLifetimeAction,
    KeyRotationPolicy,
    KeyRotationPolicyAction,
)
from azure.keyvault.keys.crypto import (
    CryptographyClient,
    EncryptionAlgorithm,
    KeyWrapAlgorithm,
    SignatureAlgorithm,
)
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

ENDPOINT = urlparse(os.environ["AZURE_MANAGEDHSM_URL"])
VAULT = "https://pythonhsm.managedhsm.azure.net"
TENANT = os.environ["AZURE_TENANT_ID"]
OWNER = "00000000-0000-0000-0000-000000000001"

resolve = socket.getaddrinfo


def resolve_here(host, port, *arguments, **options):
    if str(host).endswith(".managedhsm.azure.net"):
        host, port = "127.0.0.1", ENDPOINT.port
    return resolve(host, port, *arguments, **options)


socket.getaddrinfo = resolve_here


def credential(client=None, secret=None, tenant=TENANT):
    return ClientSecretCredential(
        tenant,
        client or os.environ["AZURE_CLIENT_ID"],
        secret or os.environ["AZURE_CLIENT_SECRET"],
        authority=os.environ["AZURE_AUTHORITY_HOST"],
        disable_instance_discovery=True,
    )


def name():
    return f"key-{uuid.uuid4()}"


class Keys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.credential = credential()
        cls.client = KeyClient(VAULT, cls.credential)

    def crypto(self, key):
        return CryptographyClient(key, self.credential)

    def remotely(self, key):
        """A client that asks the HSM for all of it, and computes nothing by itself."""
        client = CryptographyClient(key.id, self.credential)
        client._keys_get_forbidden = True
        return client

    def test_keys_of_every_type_are_created(self):
        for size in (2048, 3072, 4096):
            key = self.client.create_rsa_key(name(), size=size, hardware_protected=True)
            self.assertEqual(key.key_type, "RSA-HSM")
            self.assertEqual(len(key.key.n) * 8, size)
        for curve in ("P-256", "P-256K", "P-384", "P-521"):
            key = self.client.create_ec_key(name(), curve=curve, hardware_protected=True)
            self.assertEqual((key.key_type, key.key.crv), ("EC-HSM", curve))
        for size in (128, 192, 256):
            key = self.client.create_oct_key(name(), size=size, hardware_protected=True)
            self.assertEqual(key.key_type, "oct-HSM")

    def test_rsa_signatures_verify_here_and_there(self):
        key = self.client.create_rsa_key(name(), size=2048)
        public = utils_public_rsa(key)
        for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
            name_of_hash = "SHA" + algorithm[2:]
            digest = hashlib.new(name_of_hash, b"message").digest()
            result = self.crypto(key).sign(SignatureAlgorithm(algorithm), digest)
            chosen = getattr(hashes, name_of_hash)()
            how = (
                padding.PKCS1v15()
                if algorithm.startswith("RS")
                else padding.PSS(padding.MGF1(chosen), len(digest))
            )
            public.verify(result.signature, digest, how, utils.Prehashed(chosen))
            for client in (self.crypto(key), self.remotely(key)):
                self.assertTrue(client.verify(SignatureAlgorithm(algorithm), digest, result.signature).is_valid)
                damaged = bytes([result.signature[0] ^ 1]) + result.signature[1:]
                self.assertFalse(client.verify(SignatureAlgorithm(algorithm), digest, damaged).is_valid)

    def test_ec_signatures_verify_here_and_there(self):
        for curve, algorithm, chosen, own in (
            ("P-256", "ES256", hashes.SHA256(), ec.SECP256R1()),
            ("P-256K", "ES256K", hashes.SHA256(), ec.SECP256K1()),
            ("P-384", "ES384", hashes.SHA384(), ec.SECP384R1()),
            ("P-521", "ES512", hashes.SHA512(), ec.SECP521R1()),
        ):
            key = self.client.create_ec_key(name(), curve=curve)
            digest = hashlib.new(chosen.name, b"message").digest()
            signature = self.crypto(key).sign(SignatureAlgorithm(algorithm), digest).signature
            half = len(signature) // 2
            r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
            numbers = ec.EllipticCurvePublicNumbers(
                int.from_bytes(key.key.x, "big"), int.from_bytes(key.key.y, "big"), own
            )
            numbers.public_key().verify(
                utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(chosen))
            )
            for client in (self.crypto(key), self.remotely(key)):
                self.assertTrue(client.verify(SignatureAlgorithm(algorithm), digest, signature).is_valid)

    def test_rsa_encryption_and_key_wrap(self):
        key = self.client.create_rsa_key(name(), size=2048)
        for algorithm in ("RSA1_5", "RSA-OAEP", "RSA-OAEP-256"):
            for encrypting in (self.crypto(key), self.remotely(key)):
                sealed = encrypting.encrypt(EncryptionAlgorithm(algorithm), b"plain")
                opened = self.crypto(key).decrypt(EncryptionAlgorithm(algorithm), sealed.ciphertext)
                self.assertEqual(opened.plaintext, b"plain")
                wrapped = encrypting.wrap_key(KeyWrapAlgorithm(algorithm), bytes(32))
                unwrapped = self.crypto(key).unwrap_key(KeyWrapAlgorithm(algorithm), wrapped.encrypted_key)
                self.assertEqual(unwrapped.key, bytes(32))

    def test_symmetric_encryption_and_key_wrap(self):
        for size in (128, 192, 256):
            key = self.client.create_oct_key(name(), size=size)
            client = self.crypto(key)
            sealed = client.encrypt(
                EncryptionAlgorithm(f"A{size}GCM"), b"plain", additional_authenticated_data=b"aad"
            )
            opened = client.decrypt(
                EncryptionAlgorithm(f"A{size}GCM"),
                sealed.ciphertext,
                iv=sealed.iv,
                authentication_tag=sealed.tag,
                additional_authenticated_data=b"aad",
            )
            self.assertEqual(opened.plaintext, b"plain")
            with self.assertRaises(HttpResponseError):
                client.decrypt(
                    EncryptionAlgorithm(f"A{size}GCM"),
                    sealed.ciphertext,
                    iv=sealed.iv,
                    authentication_tag=sealed.tag,
                    additional_authenticated_data=b"other",
                )
            for algorithm, plain in ((f"A{size}CBCPAD", b"plain"), (f"A{size}CBC", bytes(32))):
                sealed = client.encrypt(EncryptionAlgorithm(algorithm), plain, iv=bytes(16))
                opened = client.decrypt(EncryptionAlgorithm(algorithm), sealed.ciphertext, iv=bytes(16))
                self.assertEqual(opened.plaintext, plain)
            wrapped = client.wrap_key(KeyWrapAlgorithm(f"A{size}KW"), bytes(16))
            unwrapped = client.unwrap_key(KeyWrapAlgorithm(f"A{size}KW"), wrapped.encrypted_key)
            self.assertEqual(unwrapped.key, bytes(16))

    def test_the_life_of_a_key(self):
        key_name = name()
        made = self.client.create_rsa_key(key_name, tags={"a": "b"})
        self.assertEqual(self.client.get_key(key_name).id, made.id)
        self.assertEqual(self.client.get_key(key_name, made.properties.version).id, made.id)
        updated = self.client.update_key_properties(key_name, enabled=False, tags={"c": "d"})
        self.assertEqual((updated.properties.enabled, updated.properties.tags), (False, {"c": "d"}))
        self.client.update_key_properties(key_name, enabled=True, key_operations=["sign"])
        rotated = self.client.rotate_key(key_name)
        self.assertNotEqual(rotated.properties.version, made.properties.version)
        versions = [version.version for version in self.client.list_properties_of_key_versions(key_name)]
        self.assertEqual(versions, [made.properties.version, rotated.properties.version])
        self.assertIn(key_name, [key.name for key in self.client.list_properties_of_keys(max_page_size=2)])
        backup = self.client.backup_key(key_name)
        deleted = self.client.begin_delete_key(key_name).result()
        self.assertIsNotNone(deleted.scheduled_purge_date)
        self.assertIn(key_name, [key.name for key in self.client.list_deleted_keys()])
        with self.assertRaises(ResourceNotFoundError):
            self.client.get_key(key_name)
        with self.assertRaises(ResourceExistsError):
            self.client.create_rsa_key(key_name)
        recovered = self.client.begin_recover_deleted_key(key_name).result()
        self.assertEqual(recovered.properties.version, rotated.properties.version)
        self.client.begin_delete_key(key_name).wait()
        self.client.purge_deleted_key(key_name)
        restored = self.client.restore_key_backup(backup)
        self.assertEqual(restored.properties.version, rotated.properties.version)
        with self.assertRaises(ResourceExistsError):
            self.client.restore_key_backup(backup)

    def test_rotation_policy(self):
        key_name = name()
        self.client.create_ec_key(key_name)
        self.assertEqual(self.client.get_key_rotation_policy(key_name).lifetime_actions, [])
        action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P30D")
        set_policy = self.client.update_key_rotation_policy(
            key_name, KeyRotationPolicy(), expires_in="P90D", lifetime_actions=[action]
        )
        self.assertEqual(set_policy.expires_in, "P90D")
        rotated = self.client.rotate_key(key_name)
        self.assertEqual((rotated.properties.expires_on - rotated.properties.created_on).days, 90)

    def test_release_policy_random_bytes_and_import(self):
        policy = KeyReleasePolicy(b'{"version": "1.0.0", "anyOf": []}')
        key = self.client.create_rsa_key(name(), exportable=True, release_policy=policy)
        self.assertTrue(key.properties.exportable)
        with self.assertRaises(HttpResponseError):
            self.client.create_rsa_key(name(), exportable=True)
        self.assertEqual(len(self.client.get_random_bytes(128)), 128)
        with self.assertRaises(HttpResponseError):
            self.client.get_random_bytes(129)
        from azure.keyvault.keys import JsonWebKey

        imported = self.client.import_key(name(), JsonWebKey(kty="oct", key_ops=["wrapKey"], k=bytes(32)))
        self.assertEqual(imported.key_type, "oct-HSM")

    def test_a_key_is_released_by_an_attestation(self):
        authority = os.environ["AZURE_MANAGEDHSM_URL"]
        policy = {
            "version": "1.0.0",
            "anyOf": [{"authority": authority, "allOf": [{"claim": "sdk-test", "equals": "true"}]}],
        }
        policy = KeyReleasePolicy(json.dumps(policy).encode())
        key = self.client.create_rsa_key(name(), exportable=True, hardware_protected=True, release_policy=policy)
        tls = ssl.create_default_context(cafile=os.environ["AKV_CA_FILE"])
        with urllib.request.urlopen(authority + "/generate-test-token", context=tls) as answer:
            token = json.load(answer)["token"]
        for algorithm in KeyExportEncryptionAlgorithm:
            released = self.client.release_key(key.name, token, algorithm=algorithm, nonce="once")
            payload = released.value.split(".")[1]
            payload = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            self.assertEqual(payload["request"]["enc"], algorithm.value)
            self.assertEqual(payload["response"]["key"]["key"]["kid"], key.id)
        with self.assertRaises(HttpResponseError) as raised:
            self.client.release_key(key.name, "not an attestation")
        self.assertEqual(raised.exception.status_code, 403)

    def test_a_request_for_claims_is_met_by_a_new_token(self):
        key = self.client.create_ec_key(name())
        fault = json.dumps({"kind": "claims-challenge", "path": f"/keys/{key.name}", "count": 1})
        request = urllib.request.Request(os.environ["EMULATOR_CONTROL"] + "/faults", fault.encode())
        with urllib.request.urlopen(request) as answer:
            self.assertEqual(answer.status, 201)
        with self.assertLogs("azure", "DEBUG") as logs:
            self.assertEqual(self.client.get_key(key.name).id, key.id)
        self.assertTrue(any("401" in line for line in logs.output), logs.output)

    def test_a_key_has_an_attestation(self):
        key = self.client.create_ec_key(name(), hardware_protected=True)
        attested = self.client.get_key_attestation(key.name)
        self.assertEqual(attested.id, key.id)
        attestation = attested.properties.attestation
        self.assertIn(b"BEGIN CERTIFICATE", attestation.certificate_pem_file)
        self.assertTrue(attestation.private_key_attestation)
        self.assertTrue(attestation.public_key_attestation)

    def test_errors_have_their_classes(self):
        with self.assertRaises(ResourceNotFoundError) as caught:
            self.client.get_key(name())
        self.assertEqual(caught.exception.error.code, "KeyNotFound")
        with self.assertRaises(HttpResponseError) as caught:
            self.client.create_oct_key(name(), size=64)
        self.assertIn("Invalid key size: '64'", caught.exception.message)
        key = self.client.create_ec_key(name(), key_operations=["verify"])
        with self.assertRaises(HttpResponseError) as caught:
            CryptographyClient(key.id, self.credential).sign(SignatureAlgorithm.es256, bytes(32))
        self.assertEqual(caught.exception.status_code, 403)
        with self.assertRaises(ClientAuthenticationError) as caught:
            KeyClient(VAULT, credential(secret="wrong")).get_key("key")
        self.assertIn("AADSTS7000215", caught.exception.message)
        with self.assertRaises(ClientAuthenticationError) as caught:
            KeyClient(VAULT, credential(client=str(uuid.uuid4()))).get_key("key")
        self.assertIn("AADSTS700016", caught.exception.message)

    def test_a_managed_identity_logs_in(self):
        # The header and the endpoint are in the environment, as in App Service.
        client = KeyClient(VAULT, ManagedIdentityCredential())
        self.assertEqual(len(client.get_random_bytes(4)), 4)


class Administration(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.access = KeyVaultAccessControlClient(VAULT, credential())
        cls.keys = KeyClient(VAULT, credential())

    def test_roles_are_assigned_enforced_and_taken_away(self):
        user = os.environ["TEST_USER_OBJECT_ID"]
        as_user = KeyClient(VAULT, credential(os.environ["TEST_USER_CLIENT_ID"], os.environ["TEST_USER_SECRET"]))
        key = self.keys.create_ec_key(name())
        with self.assertRaises(HttpResponseError) as caught:
            as_user.get_key(key.name)
        self.assertEqual(caught.exception.status_code, 403)
        self.assertIn("Microsoft.KeyVault/managedHsm/keys/read/action on /keys/", caught.exception.message)
        definitions = {one.role_name: one for one in self.access.list_role_definitions(KeyVaultRoleScope.GLOBAL)}
        scope = KeyVaultRoleScope.KEYS
        made = self.access.create_role_assignment(scope, definitions["Managed HSM Crypto User"].id, user)
        self.assertEqual((made.properties.principal_id, made.properties.scope), (user, "/keys"))
        self.assertEqual(as_user.get_key(key.name).id, key.id)
        listed = [one.name for one in self.access.list_role_assignments(scope)]
        self.assertIn(made.name, listed)
        self.assertEqual(self.access.get_role_assignment(scope, made.name).name, made.name)
        self.access.delete_role_assignment(scope, made.name)
        with self.assertRaises(HttpResponseError):
            as_user.get_key(key.name)

    def test_role_definitions_are_set_and_removed(self):
        scope = KeyVaultRoleScope.GLOBAL
        permissions = [KeyVaultPermission(data_actions=[KeyVaultDataAction.READ_HSM_KEY])]
        made = self.access.set_role_definition(scope, role_name="Reader", permissions=permissions)
        self.assertEqual(self.access.get_role_definition(scope, made.name).role_name, "Reader")
        self.access.delete_role_definition(scope, made.name)
        with self.assertRaises(ResourceNotFoundError):
            self.access.get_role_definition(scope, made.name)

    def test_settings_are_read_and_changed(self):
        client = KeyVaultSettingsClient(VAULT, credential())
        setting = next(iter(client.list_settings()))
        self.assertFalse(setting.getboolean())
        setting.value = "true"
        self.assertTrue(client.update_setting(setting).getboolean())
        setting.value = "false"
        client.update_setting(setting)
        self.assertFalse(client.get_setting(setting.name).getboolean())

    def test_every_api_version_of_the_library_is_served(self):
        for version in ApiVersion:
            client = KeyVaultAccessControlClient(VAULT, credential(), api_version=version)
            self.assertTrue(list(client.list_role_definitions(KeyVaultRoleScope.GLOBAL)))


def utils_public_rsa(key):
    from cryptography.hazmat.primitives.asymmetric import rsa

    numbers = rsa.RSAPublicNumbers(int.from_bytes(key.key.e, "big"), int.from_bytes(key.key.n, "big"))
    return numbers.public_key()


if __name__ == "__main__":
    unittest.main()
