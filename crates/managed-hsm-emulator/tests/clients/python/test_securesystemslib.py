"""securesystemslib's AzureSigner, with which The Update Framework and in-toto sign, with EC keys of an HSM and of a vault."""

import unittest
import uuid

from azure.core.exceptions import ResourceNotFoundError
from azure.identity import EnvironmentCredential
from azure.keyvault.keys import KeyClient
from securesystemslib.exceptions import UnsupportedAlgorithmError
from securesystemslib.signer import AzureSigner, Signer, SSlibKey
from securesystemslib.signer._azure_signer import UnsupportedKeyType

import judge

HSM = "https://fabrikam.managedhsm.azure.net"
VAULT = "https://contoso.vault.azure.net"
CURVES = ("P-256", "P-384", "P-521")


def made(url, curve):
    client = KeyClient(url, EnvironmentCredential())
    return client.create_ec_key(f"tuf-{uuid.uuid4()}", curve=curve, hardware_protected=True)


class Signs(unittest.TestCase):
    def signs(self, uri, public):
        signer = Signer.from_priv_key_uri(uri, public)
        self.assertIsInstance(signer, AzureSigner)
        signature = signer.sign(b"metadata")
        public.verify_signature(signature, b"metadata")
        with self.assertRaises(Exception):
            public.verify_signature(signature, b"other metadata")

    def test_keys_of_a_vault_are_imported_and_sign(self):
        for curve in CURVES:
            uri, public = AzureSigner.import_("contoso", made(VAULT, curve).name)
            self.signs(uri, public)

    def test_keys_of_an_hsm_sign(self):
        # The library makes the URL of a vault from its name; an HSM's key is named by its id.
        for curve in CURVES:
            key = made(HSM, curve)
            public = SSlibKey.from_crypto(judge.public_key(key.key))
            self.signs(key.id.replace("https:", "azurekms:"), public)

    def test_what_is_refused_is_told(self):
        with self.assertRaises(ResourceNotFoundError):
            AzureSigner.import_("contoso", "nothing")
        with self.assertRaises(UnsupportedKeyType):
            AzureSigner.import_("contoso", made(VAULT, "P-256K").name)


if __name__ == "__main__":
    unittest.main()
