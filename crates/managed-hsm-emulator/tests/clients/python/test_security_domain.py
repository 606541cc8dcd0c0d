"""azure-keyvault-securitydomain: the security domain of an HSM is downloaded, put together by two of its three holders, and uploaded to
another HSM, which then reads the first one's backups.

The library carries the domain and leaves its cryptography to who calls it, as `az keyvault security-domain` does it. Here that is done
with `cryptography` alone.
"""

import base64
import datetime
import hashlib
import hmac
import json
import os
import unittest
import uuid

from azure.core.exceptions import HttpResponseError
from azure.identity import EnvironmentCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from azure.keyvault.securitydomain import SecurityDomainClient
from azure.keyvault.securitydomain.models import CertificateInfo, SecurityDomain, SecurityDomainJsonWebKey
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives import padding as blocks
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

FIRST, SECOND = "https://fabrikam.managedhsm.azure.net", "https://northwind.managedhsm.azure.net"
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
FIELD = 257


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Holder:
    """Who has an RSA key, and a certificate for it."""

    def __init__(self):
        self.key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "holder")])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(name, name, self.key.public_key(), x509.random_serial_number(), now, now.replace(year=now.year + 1))
        self.der = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def jwk(self):
        numbers = self.key.public_key().public_numbers()
        return SecurityDomainJsonWebKey(
            kid=encode(hashlib.sha256(self.der).digest()),
            kty="RSA",
            key_ops=["verify", "encrypt", "wrapKey"],
            n=encode(numbers.n.to_bytes(256, "big")),
            e=encode(numbers.e.to_bytes(3, "big")),
            x5_c=[base64.b64encode(self.der).decode()],
            x5_t=encode(hashlib.sha1(self.der).digest()),
            x5_t_s256=encode(hashlib.sha256(self.der).digest()),
            alg="RSA-OAEP-256",
        )


def sealed(key, header, encrypted_key, plain):
    """A compact JWE by A256CBC-HS512 (RFC 7518, section 5.2.5)."""
    head, iv = encode(json.dumps(header).encode()), os.urandom(16)
    padder = blocks.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key[32:]), modes.CBC(iv)).encryptor()
    text = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    signed = head.encode() + iv + text + (8 * len(head)).to_bytes(8, "big")
    tag = hmac.digest(key[:32], signed, "sha512")[:32]
    return ".".join([head, *(encode(part) for part in (encrypted_key, iv, text, tag))])


def opened(key, jwe):
    head, _, iv, text, tag = jwe.split(".")
    iv, text = decode(iv), decode(text)
    signed = head.encode() + iv + text + (8 * len(head)).to_bytes(8, "big")
    if not hmac.compare_digest(hmac.digest(key[:32], signed, "sha512")[:32], decode(tag)):
        raise ValueError("the tag is another")
    decryptor = Cipher(algorithms.AES(key[32:]), modes.CBC(iv)).decryptor()
    unpadder = blocks.PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(text) + decryptor.finalize()) + unpadder.finalize()


def joined(shares):
    """The secret of shares: each of its bytes is a polynomial's value at 0, over the field of 257 elements."""

    def byte(index):
        numbers = [int.from_bytes(share[2 * index : 2 * index + 2], "little") for share in shares]
        points, total = [(number >> 9, number & 0x1FF) for number in numbers], 0
        for x, value in points:
            for other, _ in points:
                if other != x:
                    value = value * other * pow(other - x, -1, FIELD)
            total += value
        return total % FIELD

    return bytes(byte(index) for index in range(len(shares[0]) // 2))


def derived(master, label):
    """SP 800-108 in counter mode: one turn of HMAC with SHA-512."""
    return hmac.digest(master, (1).to_bytes(4, "big") + label.encode() + b"\0" + (512).to_bytes(4, "big"), "sha512")


def passed_on(domain, holders, transfer_key):
    """What some of the holders make of a domain for the HSM that a transfer key is of."""
    domain = json.loads(domain)
    shares = []
    for holder, share in zip(holders, domain["SharedKeys"]["enc_shares"]):
        content = holder.key.decrypt(decode(share["enc_key"].split(".")[1]), OAEP)
        shares.append(opened(content, share["enc_key"]))
    master, made, data = joined(shares), os.urandom(32), []
    for one in domain["EncData"]["data"]:
        plain = opened(derived(master, one["tag"]), one["compact_jwe"])
        again = sealed(derived(made, one["tag"]), {"alg": "dir", "enc": "A256CBC-HS512", "kid": one["tag"]}, b"", plain)
        data.append({"compact_jwe": again, "tag": one["tag"]})
    content, der = os.urandom(64), base64.b64decode(transfer_key["x5c"][0])
    public = x509.load_der_x509_certificate(der).public_key()
    wrapped = sealed(content, {"alg": "RSA-OAEP-256", "enc": "A256CBC-HS512", "kid": "not used"}, public.encrypt(content, OAEP), made)
    return json.dumps(
        {
            "EncData": {"data": data, "kdf": domain["EncData"]["kdf"]},
            "WrappedKey": {"enc_key": wrapped, "x5t_256": encode(hashlib.sha256(der).digest())},
        }
    )


class SecurityDomains(unittest.TestCase):
    def setUp(self):
        self.credential = EnvironmentCredential()
        self.first, self.second = (SecurityDomainClient(url, self.credential) for url in (FIRST, SECOND))
        self.addCleanup(self.first.close)
        self.addCleanup(self.second.close)

    def test_an_hsm_reads_anothers_backups_with_its_security_domain(self):
        keys, others = (KeyClient(url, self.credential) for url in (FIRST, SECOND))
        key = keys.create_ec_key(f"domain-{uuid.uuid4()}", hardware_protected=True)
        backup = keys.backup_key(key.name)
        with self.assertRaises(HttpResponseError) as refused:
            others.restore_key_backup(backup)
        self.assertEqual(refused.exception.status_code, 400)

        holders = [Holder() for _ in range(3)]
        wanted = CertificateInfo(certificates=[holder.jwk() for holder in holders], required=2)
        domain = self.first.begin_download(wanted).result()
        self.assertEqual(self.first.get_download_status().status, "Success")
        self.assertEqual(len(json.loads(domain.value)["SharedKeys"]["enc_shares"]), 3)

        transfer_key = json.loads(str(self.second.get_transfer_key().transfer_key))
        blob = passed_on(domain.value, holders[:2], transfer_key)
        # The domain as it was downloaded is for no HSM.
        with self.assertRaises(HttpResponseError) as refused:
            self.second.begin_upload(SecurityDomain(value=domain.value))
        self.assertEqual(refused.exception.status_code, 400)
        self.assertIsNone(self.second.begin_upload(SecurityDomain(value=blob)).result())
        self.assertEqual(self.second.get_upload_status().status, "Success")

        restored = others.restore_key_backup(backup)
        self.assertEqual((restored.name, restored.key.x), (key.name, key.key.x))
        es256, digest = SignatureAlgorithm.es256, bytes(32)
        signature = CryptographyClient(restored, self.credential).sign(es256, digest).signature
        self.assertTrue(CryptographyClient(key, self.credential).verify(es256, digest, signature).is_valid)
        # Now it has a key, and takes no other domain.
        with self.assertRaises(HttpResponseError) as refused:
            self.second.begin_upload(SecurityDomain(value=blob))
        self.assertEqual(refused.exception.status_code, 409)

    def test_a_domain_has_three_holders_at_least(self):
        for count, required in ((2, 2), (3, 1), (3, 4)):
            wanted = CertificateInfo(certificates=[Holder().jwk() for _ in range(count)], required=required)
            with self.assertRaises(HttpResponseError) as refused:
                self.first.begin_download(wanted)
            self.assertEqual(refused.exception.status_code, 400)

    def test_it_is_downloaded_in_each_version_of_the_library(self):
        for version in ("7.5", "7.6", "2025-07-01"):
            client = SecurityDomainClient(FIRST, self.credential, api_version=version)
            self.addCleanup(client.close)
            wanted = CertificateInfo(certificates=[Holder().jwk() for _ in range(3)], required=3)
            domain = client.begin_download(wanted, skip_activation_polling=True).result()
            self.assertEqual(json.loads(domain.value)["SharedKeys"]["required"], 3)


if __name__ == "__main__":
    unittest.main()
