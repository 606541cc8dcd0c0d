"""Microsoft's Python libraries against the emulator, over HTTPS with normal verification: every method for the keys of a
Managed HSM, with keys of every type."""

import base64
import datetime
import hashlib
import json
import os
import ssl
import unittest
import urllib.request
import uuid

from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.rest import HttpRequest
from azure.identity import ManagedIdentityCredential
from azure.keyvault import administration
from azure.keyvault.administration import KeyVaultAccessControlClient, KeyVaultBackupClient, KeyVaultSettingsClient
from azure.keyvault.keys import (
    JsonWebKey,
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
from cryptography.hazmat.primitives.asymmetric import padding

import judge
import test_administration
from service import (
    CURVES,
    KINDS,
    OCT_SIZES,
    RSA_SIZES,
    VAULT,
    Recorder,
    create,
    credential,
    key_client,
    local_first,
    name,
    public_members,
    remote_only,
)

RSA_SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
RSA_ENCRYPTION = ("RSA1_5", "RSA-OAEP", "RSA-OAEP-256")
EC_SIGNATURES = {"P-256": "ES256", "P-256K": "ES256K", "P-384": "ES384", "P-521": "ES512"}


def digest_for(algorithm, message=b"message"):
    return hashlib.new("SHA" + algorithm[2:5], message).digest()


def control(path, body):
    """Asks something of the emulator's control port."""
    request = urllib.request.Request(os.environ["EMULATOR_CONTROL"] + path, json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201, answer.status


class Keys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = key_client()

    def versions(self, key_name):
        return [version.version for version in self.client.list_properties_of_key_versions(key_name)]

    def test_keys_of_every_type_are_created(self):
        self.assertEqual(self.client.vault_url, VAULT)
        for size in RSA_SIZES:
            for key in (
                self.client.create_rsa_key(name(), size=size, hardware_protected=True),
                self.client.create_key(name(), "RSA-HSM", size=size),
            ):
                self.assertEqual(key.key_type, "RSA-HSM")
                self.assertEqual(len(key.key.n) * 8, size)
        for curve in CURVES:
            for key in (
                self.client.create_ec_key(name(), curve=curve, hardware_protected=True),
                self.client.create_key(name(), "EC-HSM", curve=curve),
            ):
                self.assertEqual((key.key_type, key.key.crv), ("EC-HSM", curve))
        for size in OCT_SIZES:
            for key in (
                self.client.create_oct_key(name(), size=size, hardware_protected=True),
                self.client.create_key(name(), "oct-HSM", size=size),
            ):
                self.assertEqual(key.key_type, "oct-HSM")

    def test_keys_of_every_type_live_through_all_of_their_life(self):
        for method, options in KINDS:
            with self.subTest(method, **options):
                key_name = name()
                made = create(self.client, method, options, key_name, tags={"a": "b"})
                self.assertEqual(self.client.get_key(key_name).id, made.id)
                self.assertEqual(self.client.get_key(key_name, made.properties.version).id, made.id)
                updated = self.client.update_key_properties(key_name, enabled=False, tags={"c": "d"})
                self.assertEqual((updated.properties.enabled, updated.properties.tags), (False, {"c": "d"}))
                self.client.update_key_properties(key_name, enabled=True, key_operations=["verify"])
                self.assertEqual(self.client.get_key(key_name).key_operations, ["verify"])

                action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P2Y")
                self.client.update_key_rotation_policy(key_name, KeyRotationPolicy(), lifetime_actions=[action])
                rotated = self.client.rotate_key(key_name)
                both = [made.properties.version, rotated.properties.version]
                self.assertEqual(len(set(both)), 2)
                self.assertEqual(self.versions(key_name), both)

                backup = self.client.backup_key(key_name)
                deleted = self.client.begin_delete_key(key_name).result()
                self.assertGreater(deleted.scheduled_purge_date, deleted.deleted_date)
                self.assertEqual(self.client.get_deleted_key(key_name).recovery_id, deleted.recovery_id)
                self.assertIn(key_name, [key.name for key in self.client.list_deleted_keys()])
                with self.assertRaises(ResourceNotFoundError):
                    self.client.get_key(key_name)
                with self.assertRaises(ResourceExistsError):
                    create(self.client, method, options, key_name)
                recovered = self.client.begin_recover_deleted_key(key_name).result()
                self.assertEqual(recovered.properties.version, rotated.properties.version)
                self.assertEqual(self.versions(key_name), both)

                self.client.begin_delete_key(key_name).wait()
                self.client.purge_deleted_key(key_name)
                with self.assertRaises(ResourceNotFoundError):
                    self.client.get_deleted_key(key_name)
                restored = self.client.restore_key_backup(backup)
                self.assertEqual(restored.properties.version, rotated.properties.version)
                self.assertEqual(self.versions(key_name), both)
                with self.assertRaises(ResourceExistsError):
                    self.client.restore_key_backup(backup)

    def test_lists_come_page_by_page(self):
        made = {self.client.create_oct_key(name()).name for _ in range(5)}

        def pages(listed):
            pages = [[item.name for item in page] for page in listed.by_page()]
            self.assertGreaterEqual(len(pages), 3)
            self.assertTrue(all(len(page) == 2 for page in pages[:-1]), pages)
            names = sum(pages, [])
            self.assertEqual(len(names), len(set(names)))
            self.assertLessEqual(made, set(names))

        pages(self.client.list_properties_of_keys(max_page_size=2))
        for key_name in made:
            self.client.begin_delete_key(key_name).wait()
        pages(self.client.list_deleted_keys(max_page_size=2))

        key_name = name()
        versions = [self.client.create_oct_key(key_name).properties.version for _ in range(5)]
        listed = self.client.list_properties_of_key_versions(key_name, max_page_size=2).by_page()
        pages = [[item.version for item in page] for page in listed]
        self.assertEqual(pages, [versions[:2], versions[2:4], versions[4:]])

    def test_keys_of_every_type_are_imported(self):
        for own, algorithm in [(judge.new_rsa(size), "PS256") for size in RSA_SIZES] + [
            (judge.new_ec(curve), EC_SIGNATURES[curve]) for curve in CURVES
        ]:
            imported = self.client.import_key(name(), own)
            self.assertEqual(imported.key_type, own.kty + "-HSM")
            for member in ("n", "e", "x", "y"):
                self.assertEqual(getattr(imported.key, member), getattr(own, member, None), member)
            self.assertIsNone(imported.key.d)
            digest = digest_for(algorithm)
            signature = remote_only(imported).sign(SignatureAlgorithm(algorithm), digest).signature
            self.assertTrue(judge.verifies(own, algorithm, digest, signature), algorithm)
        for size in OCT_SIZES:
            own = bytes(range(size // 8))
            jwk = JsonWebKey(kty="oct", key_ops=["wrapKey"], k=own)
            imported = self.client.import_key(name(), jwk, hardware_protected=True)
            self.assertEqual((imported.key_type, imported.key.k), ("oct-HSM", None))
            wrapped = remote_only(imported).wrap_key(KeyWrapAlgorithm(f"A{size}KW"), bytes(32))
            self.assertEqual(judge.aes_unwrapped(own, f"A{size}KW", wrapped.encrypted_key), bytes(32))

    def test_keys_have_times(self):
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        times = {"not_before": now - datetime.timedelta(1), "expires_on": now + datetime.timedelta(1)}
        for method, options in KINDS:
            made = create(self.client, method, options, **times)
            for properties in (made.properties, self.client.get_key(made.name).properties):
                self.assertEqual({time: getattr(properties, time) for time in times}, times)
                self.assertGreaterEqual(properties.created_on, now - datetime.timedelta(minutes=5))
                self.assertIsNotNone(properties.recovery_level)

    def test_rotation_policies(self):
        for method, options in KINDS:
            key_name = create(self.client, method, options).name
            self.assertEqual(self.client.get_key_rotation_policy(key_name).lifetime_actions, [])
            with self.assertRaises(HttpResponseError) as refused:
                self.client.rotate_key(key_name)
            self.assertEqual((refused.exception.status_code, refused.exception.error.code), (400, "BadParameter"))
            action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P30D")
            self.client.update_key_rotation_policy(
                key_name, KeyRotationPolicy(), expires_in="P90D", lifetime_actions=[action]
            )
            policy = self.client.get_key_rotation_policy(key_name)
            self.assertEqual(policy.expires_in, "P90D")
            self.assertEqual([one.time_after_create for one in policy.lifetime_actions], ["P30D"])
            rotated = self.client.rotate_key(key_name)
            self.assertEqual((rotated.properties.expires_on - rotated.properties.created_on).days, 90)

    def test_random_bytes(self):
        self.assertEqual(len(self.client.get_random_bytes(1)), 1)
        self.assertEqual(len(self.client.get_random_bytes(128)), 128)
        self.assertNotEqual(self.client.get_random_bytes(32), self.client.get_random_bytes(32))
        with self.assertRaises(HttpResponseError):
            self.client.get_random_bytes(129)

    def test_keys_of_every_type_are_released_by_an_attestation(self):
        authority = os.environ["AZURE_MANAGEDHSM_URL"]
        policy = {
            "version": "1.0.0",
            "anyOf": [{"authority": authority, "allOf": [{"claim": "sdk-test", "equals": "true"}]}],
        }
        policy = KeyReleasePolicy(json.dumps(policy).encode())
        tls = ssl.create_default_context(cafile=os.environ["AKV_CA_FILE"])
        with urllib.request.urlopen(authority + "/generate-test-token", context=tls) as answer:
            token = json.load(answer)["token"]
        for method, options in KINDS:
            key = create(self.client, method, options, exportable=True, release_policy=policy)
            self.assertTrue(key.properties.exportable)
            for algorithm in KeyExportEncryptionAlgorithm:
                released = self.client.release_key(key.name, token, algorithm=algorithm, nonce="once")
                payload = released.value.split(".")[1]
                payload = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
                self.assertEqual(payload["request"]["enc"], algorithm.value)
                self.assertEqual(payload["response"]["key"]["key"]["kid"], key.id)
            with self.assertRaises(HttpResponseError) as raised:
                self.client.release_key(key.name, "not an attestation")
            self.assertEqual(raised.exception.status_code, 403)
        with self.assertRaises(HttpResponseError):
            self.client.create_rsa_key(name(), exportable=True)

    def test_keys_of_every_type_have_an_attestation(self):
        for method, options in KINDS:
            key = create(self.client, method, options)
            for attested in (
                self.client.get_key_attestation(key.name),
                self.client.get_key_attestation(key.name, key.properties.version),
            ):
                self.assertEqual(attested.id, key.id)
                attestation = attested.properties.attestation
                self.assertIn(b"BEGIN CERTIFICATE", attestation.certificate_pem_file)
                self.assertTrue(attestation.private_key_attestation)
                symmetric = key.key_type == "oct-HSM"
                self.assertEqual(attestation.public_key_attestation is None, symmetric)

    def test_requests_of_ones_own_go_through_the_client(self):
        key = self.client.create_ec_key(name())
        answer = self.client.send_request(HttpRequest("GET", f"keys/{key.name}"))
        answer.raise_for_status()
        self.assertEqual(answer.json()["key"]["kid"], key.id)

    def test_a_closed_client_lets_go_of_its_connections(self):
        client = key_client()
        cryptography = local_first(client.create_ec_key(name()))
        cryptography.sign(SignatureAlgorithm.es256, bytes(32))
        client.close()
        cryptography.close()
        self.assertTrue(self.client.get_random_bytes(1))

    def test_a_request_for_claims_is_met_by_a_new_token(self):
        key = self.client.create_ec_key(name())
        control("/faults", {"kind": "claims-challenge", "path": f"/keys/{key.name}", "count": 1})
        with self.assertLogs("azure", "DEBUG") as logs:
            self.assertEqual(self.client.get_key(key.name).id, key.id)
        self.assertTrue(any("401" in line for line in logs.output), logs.output)

    def test_a_managed_identity_logs_in(self):
        # The header and the endpoint are in the environment, as in App Service.
        client = key_client(ManagedIdentityCredential())
        self.assertEqual(len(client.get_random_bytes(4)), 4)


class Operations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = key_client()

    def signs_and_verifies(self, key, algorithm):
        """The library, the HSM and the openssl program take a signature for good, and a damaged one for bad."""
        digest = digest_for(algorithm)
        signed = local_first(key).sign(SignatureAlgorithm(algorithm), digest)
        self.assertEqual(signed.key_id, key.id)
        damaged = bytes([signed.signature[0] ^ 1]) + signed.signature[1:]
        for signature, good in ((signed.signature, True), (damaged, False)):
            self.assertEqual(judge.verifies(key.key, algorithm, digest, signature), good, algorithm)
            for client in (Recorder(CryptographyClient).from_jwk(key.key), local_first(key), remote_only(key)):
                verified = client.verify(SignatureAlgorithm(algorithm), digest, signature)
                self.assertEqual(verified.is_valid, good, algorithm)

    def test_rsa_signatures_verify_everywhere(self):
        for size in RSA_SIZES:
            key = self.client.create_rsa_key(name(), size=size)
            for algorithm in RSA_SIGNATURES:
                self.signs_and_verifies(key, algorithm)

    def test_ec_signatures_verify_everywhere(self):
        for curve, algorithm in EC_SIGNATURES.items():
            self.signs_and_verifies(self.client.create_ec_key(name(), curve=curve), algorithm)

    def test_symmetric_keys_authenticate(self):
        algorithms = ("HS256", "HS384", "HS512")
        for size in (256, 384, 512):
            own = bytes(range(size // 8))
            jwk = JsonWebKey(kty="oct-HSM", key_ops=["sign", "verify"], k=own)
            client = remote_only(self.client.import_key(name(), jwk))
            # A key is at least as long as the digest.
            for algorithm in (one for one in algorithms if int(one[2:]) <= size):
                digest = digest_for(algorithm)
                signature = client.sign(SignatureAlgorithm(algorithm), digest).signature
                self.assertEqual(signature, judge.hmac(own, "SHA" + algorithm[2:], digest))
                damaged = bytes([signature[0] ^ 1]) + signature[1:]
                self.assertTrue(client.verify(SignatureAlgorithm(algorithm), digest, signature).is_valid)
                self.assertFalse(client.verify(SignatureAlgorithm(algorithm), digest, damaged).is_valid)

    def test_rsa_encryption_and_key_wrap(self):
        for size in RSA_SIZES:
            key = self.client.create_rsa_key(name(), size=size)
            remote = remote_only(key)
            encrypting = (Recorder(CryptographyClient).from_jwk(key.key), local_first(key), remote)
            for algorithm in RSA_ENCRYPTION:
                sealed = [one.encrypt(EncryptionAlgorithm(algorithm), b"plain").ciphertext for one in encrypting]
                for ciphertext in sealed + [judge.encrypted(key.key, algorithm, b"plain")]:
                    opened = remote.decrypt(EncryptionAlgorithm(algorithm), ciphertext)
                    self.assertEqual(opened.plaintext, b"plain")
                wrapped = [one.wrap_key(KeyWrapAlgorithm(algorithm), bytes(32)).encrypted_key for one in encrypting]
                for encrypted_key in wrapped + [judge.encrypted(key.key, algorithm, bytes(32))]:
                    unwrapped = remote.unwrap_key(KeyWrapAlgorithm(algorithm), encrypted_key)
                    self.assertEqual(unwrapped.key, bytes(32))

    def test_symmetric_encryption(self):
        for size in OCT_SIZES:
            client = remote_only(self.client.create_oct_key(name(), size=size))
            gcm = EncryptionAlgorithm(f"A{size}GCM")
            sealed = client.encrypt(gcm, b"plain", additional_authenticated_data=b"aad")
            tag = {"iv": sealed.iv, "authentication_tag": sealed.tag}
            opened = client.decrypt(gcm, sealed.ciphertext, additional_authenticated_data=b"aad", **tag)
            self.assertEqual(opened.plaintext, b"plain")
            with self.assertRaises(HttpResponseError) as caught:
                client.decrypt(gcm, sealed.ciphertext, additional_authenticated_data=b"other", **tag)
            self.assertEqual(caught.exception.status_code, 400)
            for algorithm, plain in ((f"A{size}CBCPAD", b"plain"), (f"A{size}CBC", bytes(32))):
                sealed = client.encrypt(EncryptionAlgorithm(algorithm), plain, iv=bytes(16))
                opened = client.decrypt(EncryptionAlgorithm(algorithm), sealed.ciphertext, iv=bytes(16))
                self.assertEqual(opened.plaintext, plain)

    def test_symmetric_key_wrap(self):
        for size in OCT_SIZES:
            own = bytes(range(size // 8))
            jwk = JsonWebKey(kty="oct-HSM", key_ops=["wrapKey", "unwrapKey"], k=own)
            client = remote_only(self.client.import_key(name(), jwk))
            local = Recorder(CryptographyClient).from_jwk(jwk)
            for algorithm, plain in (
                (f"A{size}KW", bytes(16)),
                ("CKM_AES_KEY_WRAP", bytes(24)),
                ("CKM_AES_KEY_WRAP_PAD", b"seven b"),
            ):
                wrapped = client.wrap_key(KeyWrapAlgorithm(algorithm), plain).encrypted_key
                self.assertEqual(judge.aes_unwrapped(own, algorithm, wrapped), plain)
                self.assertEqual(client.unwrap_key(KeyWrapAlgorithm(algorithm), wrapped).key, plain)
                if algorithm == f"A{size}KW":
                    self.assertEqual(local.unwrap_key(KeyWrapAlgorithm(algorithm), wrapped).key, plain)

    def test_the_newest_version_is_meant_unless_one_is_named(self):
        key_name = name()
        older, newest = (self.client.create_ec_key(key_name) for _ in range(2))
        for version, key in ((None, newest), (older.properties.version, older)):
            client = self.client.get_cryptography_client(key_name, key_version=version)
            self.assertEqual(client.vault_url, VAULT)
            digest = digest_for("ES256")
            signature = client.sign(SignatureAlgorithm.es256, digest).signature
            self.assertEqual(client.key_id, key.id)
            self.assertTrue(judge.verifies(key.key, "ES256", digest, signature))

    def test_a_key_in_the_hsm_stands_in_for_one_of_the_cryptography_package(self):
        for size in RSA_SIZES:
            key = self.client.create_rsa_key(name(), size=size)
            client = local_first(key)
            private, public = client.create_rsa_private_key(), client.create_rsa_public_key()
            self.assertEqual((private.key_size, public.key_size), (size, size))
            self.assertEqual(public.public_numbers().n, judge.number(key.key.n))
            for how, algorithm in (
                (padding.PKCS1v15(), "RS256"),
                (padding.PSS(padding.MGF1(hashes.SHA256()), 32), "PS256"),
            ):
                signature = private.sign(b"message", how, hashes.SHA256())
                public.verify(signature, b"message", how, hashes.SHA256())
                self.assertTrue(judge.verifies(key.key, algorithm, digest_for(algorithm), signature))
            how = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
            self.assertEqual(private.decrypt(public.encrypt(b"plain", how), how), b"plain")

    def test_a_request_of_ones_own_goes_through_the_client(self):
        key = self.client.create_ec_key(name())
        answer = local_first(key).send_request(HttpRequest("GET", f"keys/{key.name}"))
        self.assertEqual(answer.json()["key"]["kid"], key.id)


class Errors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = key_client()

    def refused(self, kind, status, code, request, *arguments, **options):
        with self.assertRaises(kind) as caught:
            request(*arguments, **options)
        self.assertIs(type(caught.exception), kind)
        self.assertEqual((caught.exception.status_code, caught.exception.error.code), (status, code))
        return caught.exception.message

    def test_what_is_not_there(self):
        missing = name()
        for request in (
            self.client.get_key,
            self.client.get_deleted_key,
            self.client.backup_key,
            self.client.rotate_key,
            self.client.purge_deleted_key,
            self.client.get_key_attestation,
            self.client.begin_delete_key,
            self.client.begin_recover_deleted_key,
        ):
            self.refused(ResourceNotFoundError, 404, "KeyNotFound", request, missing)

    def test_what_is_there_already(self):
        key_name = name()
        self.client.create_oct_key(key_name)
        backup = self.client.backup_key(key_name)
        self.refused(ResourceExistsError, 409, "Conflict", self.client.restore_key_backup, backup)
        self.client.begin_delete_key(key_name).wait()
        self.refused(ResourceExistsError, 409, "Conflict", self.client.create_oct_key, key_name)

    def test_what_makes_no_sense(self):
        said = self.refused(HttpResponseError, 400, "BadParameter", self.client.create_oct_key, name(), size=64)
        self.assertIn("Invalid key size: '64'", said)
        self.refused(HttpResponseError, 400, "BadParameter", self.client.get_key, "under_score")
        self.refused(HttpResponseError, 400, "MalformedBackupBlob", self.client.restore_key_backup, b"no backup")
        rsa = remote_only(self.client.create_rsa_key(name()))
        ec = remote_only(self.client.create_ec_key(name()))
        oct = remote_only(self.client.create_oct_key(name()))
        es256, ps256, rs256 = (getattr(SignatureAlgorithm, one) for one in ("es256", "ps256", "rs256"))
        for client, algorithm in ((rsa, es256), (ec, ps256), (oct, rs256)):
            self.refused(HttpResponseError, 400, "BadParameter", client.sign, algorithm, bytes(32))
        self.refused(HttpResponseError, 400, "BadParameter", rsa.sign, rs256, bytes(31))
        self.refused(HttpResponseError, 400, "BadParameter", rsa.decrypt, EncryptionAlgorithm.rsa_oaep, bytes(256))

    def test_what_a_key_is_not_for(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        for options in (
            {"key_operations": ["verify"]},
            {"enabled": False},
            {"expires_on": now - datetime.timedelta(hours=1)},
            {"not_before": now + datetime.timedelta(hours=1)},
        ):
            client = remote_only(self.client.create_ec_key(name(), **options))
            self.refused(HttpResponseError, 403, "Forbidden", client.sign, SignatureAlgorithm.es256, bytes(32))

    def test_who_cannot_log_in(self):
        with self.assertRaises(ClientAuthenticationError) as caught:
            key_client(credential(secret="wrong")).get_key("key")
        self.assertIn("AADSTS7000215", caught.exception.message)
        with self.assertRaises(ClientAuthenticationError) as caught:
            key_client(credential(client=str(uuid.uuid4()))).get_key("key")
        self.assertIn("AADSTS700016", caught.exception.message)

    def test_a_token_of_nobody(self):
        class Nobody:
            def get_token(self, *scopes, **options):
                return AccessToken("bm9ib2R5.e30.AA", 2**40)

        with self.assertRaises(ClientAuthenticationError) as caught:
            key_client(Nobody()).get_key("key")
        self.assertEqual(caught.exception.status_code, 401)

    def test_what_passes_is_tried_again(self):
        client = key_client(retry_backoff_factor=0.01)
        for kind in ("throttled", "throttled-retry-after", "internal-error", "unavailable", "drop", "close"):
            key = client.create_oct_key(name())
            control("/faults", {"kind": kind, "path": f"/keys/{key.name}", "count": 1})
            self.assertEqual(client.get_key(key.name).id, key.id, kind)

    def test_what_does_not_pass(self):
        client = key_client(retry_total=0)
        for kind, status, code in (
            ("throttled", 429, "Throttled"),
            ("internal-error", 500, None),
            ("unavailable", 503, None),
        ):
            key = client.create_oct_key(name())
            control("/faults", {"kind": kind, "path": f"/keys/{key.name}", "count": 1})
            with self.assertRaises(HttpResponseError) as caught:
                client.get_key(key.name)
            self.assertEqual(caught.exception.status_code, status)
            if code:
                self.assertEqual(caught.exception.error.code, code)
        key = client.create_oct_key(name())
        control("/faults", {"kind": "drop", "path": f"/keys/{key.name}", "count": 1})
        with self.assertRaises((ServiceRequestError, ServiceResponseError)):
            client.get_key(key.name)


class Completeness(unittest.TestCase):
    """Runs last."""

    # What no test calls, and why: it is the same as KeyClient's.
    EXCUSED = {"close", "send_request", "vault_url"}

    def test_every_method_was_called(self):
        kinds = [KeyClient, CryptographyClient, KeyVaultAccessControlClient, KeyVaultBackupClient, KeyVaultSettingsClient]
        # Only the pre-release has this one.
        kinds += [getattr(administration, one) for one in ("KeyVaultEkmClient",) if hasattr(administration, one)]
        for kind in kinds:
            public = public_members(kind)
            excused = self.EXCUSED if kind.__module__.startswith(administration.__name__) else set()
            called = {member for owner, member in Recorder.CALLED if owner == kind.__name__}
            self.assertLessEqual(excused, public)
            self.assertEqual(public - called - excused, set(), f"not called by any test: {kind.__name__}")
            self.assertEqual(called & excused, set(), "needs no excuse")


def load_tests(loader, tests, pattern):
    cases = [Keys, Operations, Errors, test_administration.Administration]
    # Only the pre-release has what these call.
    if hasattr(KeyClient, "create_external_key"):
        import test_previews

        cases.append(test_previews.Previews)
    cases.append(Completeness)
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in cases)


if __name__ == "__main__":
    unittest.main()
