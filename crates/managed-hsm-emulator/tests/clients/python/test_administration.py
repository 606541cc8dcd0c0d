"""Roles, settings and full backups of a Managed HSM, by Microsoft's Python library for its administration. Run by test_emulator.py, which sees that
every method was called.
"""

import unittest

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.administration import (
    ApiVersion,
    KeyVaultAccessControlClient,
    KeyVaultBackupClient,
    KeyVaultDataAction,
    KeyVaultPermission,
    KeyVaultRoleScope,
    KeyVaultSettingsClient,
)
from azure.keyvault.keys.crypto import EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm

from service import OWNER, USER, VAULT, Recorder, key_client, name, remote_only, user_credential


class Administration(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.access = Recorder(KeyVaultAccessControlClient(VAULT, OWNER))
        cls.keys = key_client()
        roles = cls.access.list_role_definitions(KeyVaultRoleScope.GLOBAL)
        cls.roles = {one.role_name: one for one in roles}

    def denied(self, action, request, *arguments, **options):
        with self.assertRaises(HttpResponseError) as caught:
            request(*arguments, **options)
        self.assertEqual((caught.exception.status_code, caught.exception.error.code), (403, "AccessDenied"))
        self.assertIn(f"Microsoft.KeyVault/managedHsm/{action} on /", caught.exception.message)

    def assigned(self, role, scope):
        """Gives the user a role until the end of the test."""
        made = self.access.create_role_assignment(scope, self.roles[role].id, USER)
        self.addCleanup(self.access.delete_role_assignment, scope, made.name)
        return made

    def test_roles_are_assigned_enforced_and_taken_away(self):
        as_user = key_client(user_credential())
        key = self.keys.create_ec_key(name())
        self.denied("keys/read/action", as_user.get_key, key.name)
        scope = KeyVaultRoleScope.KEYS
        made = self.access.create_role_assignment(scope, self.roles["Managed HSM Crypto User"].id, USER)
        self.assertEqual((made.properties.principal_id, made.properties.scope), (USER, "/keys"))
        self.assertEqual(as_user.get_key(key.name).id, key.id)
        listed = [one.name for one in self.access.list_role_assignments(scope)]
        self.assertIn(made.name, listed)
        self.assertEqual(self.access.get_role_assignment(scope, made.name).name, made.name)
        self.access.delete_role_assignment(scope, made.name)
        self.denied("keys/read/action", as_user.get_key, key.name)
        with self.assertRaises(ResourceNotFoundError) as caught:
            self.access.get_role_assignment(scope, made.name)
        self.assertEqual(caught.exception.error.code, "RoleAssignmentNotFound")

    def test_who_has_no_role_may_do_nothing(self):
        as_user = key_client(user_credential())
        key = self.keys.create_rsa_key(name())
        client = remote_only(key, user_credential())
        for action, request, *arguments in (
            ("keys/create", as_user.create_rsa_key, name()),
            ("keys/write/action", as_user.update_key_properties, key.name),
            ("keys/delete", as_user.begin_delete_key, key.name),
            ("keys/backup/action", as_user.backup_key, key.name),
            ("keys/rotate/action", as_user.rotate_key, key.name),
            ("keys/sign/action", client.sign, SignatureAlgorithm.rs256, bytes(32)),
            ("keys/verify/action", client.verify, SignatureAlgorithm.rs256, bytes(32), bytes(256)),
            ("keys/encrypt/action", client.encrypt, EncryptionAlgorithm.rsa_oaep, b"plain"),
            ("keys/decrypt/action", client.decrypt, EncryptionAlgorithm.rsa_oaep, bytes(256)),
            ("keys/wrap/action", client.wrap_key, KeyWrapAlgorithm.rsa_oaep, bytes(32)),
            ("keys/unwrap/action", client.unwrap_key, KeyWrapAlgorithm.rsa_oaep, bytes(256)),
            ("rng/action", as_user.get_random_bytes, 4),
        ):
            self.denied(action, request, *arguments)
        with self.assertRaises(HttpResponseError) as caught:
            list(as_user.list_properties_of_keys())
        self.assertEqual(caught.exception.status_code, 403)

    def test_a_role_for_one_key_is_for_no_other(self):
        mine, other = (self.keys.create_ec_key(name()) for _ in range(2))
        self.assigned("Managed HSM Crypto User", f"/keys/{mine.name}")
        es256 = SignatureAlgorithm.es256
        remote_only(mine, user_credential()).sign(es256, bytes(32))
        self.denied("keys/sign/action", remote_only(other, user_credential()).sign, es256, bytes(32))

    def test_an_auditor_reads_and_no_more(self):
        key = self.keys.create_ec_key(name())
        self.assigned("Managed HSM Crypto Auditor", KeyVaultRoleScope.KEYS)
        as_user = key_client(user_credential())
        self.assertEqual(as_user.get_key(key.name).id, key.id)
        client = remote_only(key, user_credential())
        self.denied("keys/sign/action", client.sign, SignatureAlgorithm.es256, bytes(32))
        self.denied("keys/delete", as_user.begin_delete_key, key.name)

    def test_role_definitions_are_set_and_removed(self):
        scope = KeyVaultRoleScope.GLOBAL
        permissions = [KeyVaultPermission(data_actions=[KeyVaultDataAction.READ_HSM_KEY])]
        made = self.access.set_role_definition(scope, role_name="Reader", permissions=permissions)
        self.assertEqual(self.access.get_role_definition(scope, made.name).role_name, "Reader")
        self.access.delete_role_definition(scope, made.name)
        with self.assertRaises(ResourceNotFoundError):
            self.access.get_role_definition(scope, made.name)

    def test_settings_are_read_and_changed(self):
        client = Recorder(KeyVaultSettingsClient(VAULT, OWNER))
        setting = next(iter(client.list_settings()))
        self.assertFalse(setting.getboolean())
        setting.value = "true"
        self.assertTrue(client.update_setting(setting).getboolean())
        setting.value = "false"
        client.update_setting(setting)
        self.assertFalse(client.get_setting(setting.name).getboolean())

    def test_a_whole_hsm_is_backed_up_and_restored(self):
        client = Recorder(KeyVaultBackupClient(VAULT, OWNER))
        # A folder of the emulator's: it stands for all storage over HTTPS.
        container, token = "https://account.blob.core.windows.net/backups", {"sas_token": "a-token"}
        key, other = (self.keys.create_ec_key(name()) for _ in range(2))
        self.assertIsNone(client.begin_pre_backup(container, **token).result())
        folder = client.begin_backup(container, **token).result().folder_url
        self.assertRegex(folder, f"^{container}/mhsm-")
        later = self.keys.create_ec_key(name())
        self.keys.begin_delete_key(key.name).wait()
        client.begin_pre_restore(folder, use_managed_identity=True).wait()
        # It was only asked whether that would do.
        self.assertEqual(self.keys.get_key(later.name).id, later.id)
        client.begin_restore(folder, **token).wait()
        for found in (key, other):
            self.assertEqual(self.keys.get_key(found.name).key.x, found.key.x)
        with self.assertRaises(ResourceNotFoundError):
            self.keys.get_key(later.name)
        # One key alone.
        self.keys.begin_delete_key(key.name).wait()
        self.keys.purge_deleted_key(key.name)
        client.begin_restore(folder, key_name=key.name, **token).wait()
        self.assertEqual(self.keys.get_key(key.name).key.x, key.key.x)
        with self.assertRaises(HttpResponseError):
            client.begin_restore(f"{container}/mhsm-none", **token).wait()

    def test_every_api_version_of_the_library_is_served(self):
        for version in ApiVersion:
            client = KeyVaultAccessControlClient(VAULT, OWNER, api_version=version)
            self.assertTrue(list(client.list_role_definitions(KeyVaultRoleScope.GLOBAL)))
