"""One small flow for every version of azure-keyvault-keys and azure-keyvault-administration, with an HSM and a vault.

The names of the service lead to the emulator, and nothing in the libraries is changed. What a version doesn't have yet is skipped;
whoever runs this knows how many tests that are.
"""

import hashlib
import os
import unittest
import uuid

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, EnvironmentCredential
from azure.keyvault import administration
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm

import judge

HSM = "https://fabrikam.managedhsm.azure.net"
VAULT = "https://contoso.vault.azure.net"
EC_SIGNATURES = {"P-256": "ES256", "P-256K": "ES256K", "P-384": "ES384", "P-521": "ES512"}


def user(secret=None):
    tenant, client = os.environ["AZURE_TENANT_ID"], os.environ["TEST_USER_CLIENT_ID"]
    return ClientSecretCredential(tenant, client, secret or os.environ["TEST_USER_SECRET"])


def name():
    return f"key-{uuid.uuid4()}"


def digest_for(algorithm):
    return hashlib.new("SHA" + algorithm[2:5], b"message").digest()


def damaged(signature):
    return signature[:-1] + bytes([signature[-1] ^ 1])


class Flow:
    """What an HSM and a vault have in common."""

    @classmethod
    def setUpClass(cls):
        cls.credential = EnvironmentCredential()
        cls.client = KeyClient(cls.url, cls.credential)

    def cryptography(self, key):
        return CryptographyClient(key, self.credential)

    def signs_and_verifies(self, key, algorithm):
        client, digest = self.cryptography(key), digest_for(algorithm)
        signature = client.sign(SignatureAlgorithm(algorithm), digest).signature
        self.assertTrue(judge.verifies(key.key, algorithm, digest, signature), algorithm)
        self.assertTrue(client.verify(SignatureAlgorithm(algorithm), digest, signature).is_valid)
        self.assertFalse(client.verify(SignatureAlgorithm(algorithm), digest, damaged(signature)).is_valid)

    def test_rsa_keys_sign_decrypt_and_unwrap(self):
        for size, protected in ((2048, True), (3072, False)):
            key = self.client.create_rsa_key(name(), size=size, hardware_protected=protected)
            self.assertEqual(len(key.key.n) * 8, size)
            self.assertEqual(key.key_type, self.kind("RSA", protected))
            self.signs_decrypts_and_unwraps(key)

    def kind(self, name, protected):
        return f"{name}-HSM" if protected or self.url == HSM else name

    def signs_decrypts_and_unwraps(self, key):
        for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
            self.signs_and_verifies(key, algorithm)
        client = self.cryptography(key)
        for algorithm in ("RSA1_5", "RSA-OAEP", "RSA-OAEP-256"):
            sealed = client.encrypt(EncryptionAlgorithm(algorithm), b"plain").ciphertext
            for ciphertext in (sealed, judge.encrypted(key.key, algorithm, b"plain")):
                self.assertEqual(client.decrypt(EncryptionAlgorithm(algorithm), ciphertext).plaintext, b"plain")
            wrapped = client.wrap_key(KeyWrapAlgorithm(algorithm), bytes(32)).encrypted_key
            self.assertEqual(client.unwrap_key(KeyWrapAlgorithm(algorithm), wrapped).key, bytes(32))

    def test_ec_keys_sign(self):
        for curve, algorithm in EC_SIGNATURES.items():
            for protected in (True, False):
                key = self.client.create_ec_key(name(), curve=curve, hardware_protected=protected)
                self.assertEqual((key.key_type, key.key.crv), (self.kind("EC", protected), curve))
                self.signs_and_verifies(key, algorithm)

    def test_keys_made_elsewhere_are_imported(self):
        for made, algorithm in ((judge.new_rsa(2048), "PS256"), (judge.new_ec("P-384"), "ES384")):
            for protected in (True, False):
                key = self.client.import_key(name(), made, hardware_protected=protected)
                self.assertEqual((key.key.n, key.key.x), (made.n, made.x))
                self.signs_and_verifies(key, algorithm)

    def test_a_key_lives_through_all_of_its_life(self):
        key_name = name()
        first = self.client.create_ec_key(key_name, tags={"a": "b"}).properties.version
        second = self.client.create_ec_key(key_name).properties.version
        listed = [version.version for version in self.client.list_properties_of_key_versions(key_name)]
        self.assertEqual(sorted(listed), sorted([first, second]))
        self.assertIn(key_name, [key.name for key in self.client.list_properties_of_keys()])
        self.assertEqual(self.client.get_key(key_name, first).properties.tags, {"a": "b"})
        updated = self.client.update_key_properties(key_name, enabled=False, tags={"c": "d"})
        self.assertEqual((updated.properties.enabled, updated.properties.tags), (False, {"c": "d"}))
        backup = self.client.backup_key(key_name)
        deleted = self.client.begin_delete_key(key_name).result()
        self.assertGreater(deleted.scheduled_purge_date, deleted.deleted_date)
        self.assertIn(key_name, [key.name for key in self.client.list_deleted_keys()])
        self.assertEqual(self.client.get_deleted_key(key_name).recovery_id, deleted.recovery_id)
        with self.assertRaises(ResourceNotFoundError):
            self.client.get_key(key_name)
        with self.assertRaises(HttpResponseError) as caught:
            self.client.create_ec_key(key_name)
        self.assertEqual(caught.exception.status_code, 409)
        self.assertEqual(self.client.begin_recover_deleted_key(key_name).result().properties.version, second)
        self.client.begin_delete_key(key_name).wait()
        self.client.purge_deleted_key(key_name)
        with self.assertRaises(ResourceNotFoundError):
            self.client.get_deleted_key(key_name)
        self.assertEqual(self.client.restore_key_backup(backup).properties.version, second)

    @unittest.skipUnless(hasattr(KeyClient, "rotate_key"), "no rotation")
    def test_a_key_is_rotated_by_its_policy(self):
        from azure.keyvault.keys import KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction

        key = self.client.create_rsa_key(name())
        action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P90D")
        updated = self.client.update_key_rotation_policy(key.name, KeyRotationPolicy(), lifetime_actions=[action])
        read = self.client.get_key_rotation_policy(key.name)
        for policy in (updated, read):
            self.assertIn("P90D", [action.time_after_create for action in policy.lifetime_actions])
        rotated = self.client.rotate_key(key.name)
        self.assertNotEqual(rotated.properties.version, key.properties.version)
        self.assertEqual(self.client.get_key(key.name).id, rotated.id)

    def test_what_is_refused_is_told(self):
        with self.assertRaises(ResourceNotFoundError) as caught:
            self.client.get_key(name())
        self.assertEqual(caught.exception.error.code, "KeyNotFound")
        with self.assertRaises(ClientAuthenticationError) as caught:
            KeyClient(self.url, user("wrong")).get_key("any")
        self.assertIn("AADSTS7000215", caught.exception.message)
        with self.assertRaises(HttpResponseError) as caught:
            KeyClient(self.url, user()).get_key("any")
        self.assertEqual((caught.exception.status_code, caught.exception.error.code), (403, self.denied))


class Vault(Flow, unittest.TestCase):
    url, denied = VAULT, "Forbidden"


class Hsm(Flow, unittest.TestCase):
    url, denied = HSM, "AccessDenied"

    @unittest.skipUnless(hasattr(KeyClient, "create_oct_key"), "no symmetric keys")
    def test_symmetric_keys_are_created(self):
        for size in (128, 192, 256):
            key = self.client.create_oct_key(name(), size=size, hardware_protected=True)
            self.assertEqual(key.key_type, "oct-HSM")
            self.assertEqual(self.client.get_key(key.name).id, key.id)

    @unittest.skipUnless(hasattr(KeyClient, "get_random_bytes"), "no random bytes")
    def test_random_bytes_are_given(self):
        first, second = (self.client.get_random_bytes(32) for _ in range(2))
        self.assertEqual((len(first), len(second)), (32, 32))
        self.assertNotEqual(first, second)


class Administration(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.credential = EnvironmentCredential()
        cls.access = administration.KeyVaultAccessControlClient(HSM, cls.credential)
        cls.keys = KeyClient(HSM, cls.credential)

    def test_a_role_is_given_and_taken_away(self):
        key = self.keys.create_ec_key(name())
        client = CryptographyClient(key, user())

        def denied():
            with self.assertRaises(HttpResponseError) as caught:
                client.sign(SignatureAlgorithm.es256, bytes(32))
            self.assertEqual(caught.exception.status_code, 403)

        scope = administration.KeyVaultRoleScope.KEYS
        roles = {role.role_name: role.id for role in self.access.list_role_definitions(scope)}
        denied()
        given = self.access.create_role_assignment(
            scope, roles["Managed HSM Crypto User"], os.environ["TEST_USER_OBJECT_ID"]
        )
        client.sign(SignatureAlgorithm.es256, bytes(32))
        self.assertIn(given.name, [one.name for one in self.access.list_role_assignments(scope)])
        self.assertEqual(self.access.get_role_assignment(scope, given.name).name, given.name)
        self.access.delete_role_assignment(scope, given.name)
        denied()

    def test_a_role_is_defined(self):
        action = administration.KeyVaultDataAction.READ_HSM_KEY
        permissions = [administration.KeyVaultPermission(data_actions=[action])]
        scope = administration.KeyVaultRoleScope.GLOBAL
        made = self.access.set_role_definition(scope, role_name="Reader", permissions=permissions)
        self.assertEqual(self.access.get_role_definition(scope, made.name).role_name, "Reader")
        self.access.delete_role_definition(scope, made.name)
        with self.assertRaises(ResourceNotFoundError):
            self.access.get_role_definition(scope, made.name)

    @unittest.skipUnless(hasattr(administration, "KeyVaultSettingsClient"), "no settings")
    def test_a_setting_is_changed(self):
        client = administration.KeyVaultSettingsClient(HSM, self.credential)
        setting = next(iter(client.list_settings()))
        for value in ("true", "false"):
            setting.value = value
            client.update_setting(setting)
            self.assertEqual(client.get_setting(setting.name).value, value)

    def test_keys_are_back_after_a_restore(self):
        client = administration.KeyVaultBackupClient(HSM, self.credential)
        key = self.keys.create_ec_key(name())
        container = "https://contoso.blob.core.windows.net/backups"
        folder = client.begin_backup(container, sas_token="any").result().folder_url
        self.keys.begin_delete_key(key.name).wait()
        self.keys.purge_deleted_key(key.name)
        client.begin_restore(folder, sas_token="any", key_name=key.name).wait()
        self.assertEqual(self.keys.get_key(key.name).id, key.id)


class Versions(unittest.TestCase):
    def test_they_are_the_ones_that_are_meant(self):
        from azure.keyvault.administration._version import VERSION as administration_version
        from azure.keyvault.keys._version import VERSION as keys_version

        self.assertEqual(f"{keys_version} {administration_version}", os.environ["VERSIONS"])


if __name__ == "__main__":
    unittest.main()
