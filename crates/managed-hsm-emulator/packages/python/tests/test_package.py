import os
import subprocess
from pathlib import Path

import pytest
from azure.identity import DefaultAzureCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from managed_hsm_emulator import Emulator, program


def test_a_key_signs(managed_hsm):
    client = KeyClient(managed_hsm.url, managed_hsm.credential(), verify_challenge_resource=False)
    key = client.create_ec_key("demo", curve="P-256", hardware_protected=True)
    crypto = CryptographyClient(key, managed_hsm.credential(), verify_challenge_resource=False)
    signature = crypto.sign(SignatureAlgorithm.es256, bytes(32)).signature
    assert crypto.verify(SignatureAlgorithm.es256, bytes(32), signature).is_valid
    assert "path=/keys/demo" in managed_hsm.log()


def test_the_environment_is_enough(managed_hsm):
    credential = DefaultAzureCredential(disable_instance_discovery=True)
    client = KeyClient(os.environ["AZURE_MANAGEDHSM_URL"], credential, verify_challenge_resource=False)
    assert client.create_rsa_key("by-default", hardware_protected=True).key_type == "RSA-HSM"


def test_options_come_from_pytests_configuration(managed_hsm):
    assert managed_hsm.vault_url is not None


def test_each_emulator_has_keys_of_its_own_and_leaves_nothing():
    with Emulator() as one, Emulator() as other:
        assert one.url != other.url
        client = KeyClient(one.url, one.credential(), verify_challenge_resource=False, connection_verify=one.ca_file)
        client.create_ec_key("mine", curve="P-256", hardware_protected=True)
        client = KeyClient(other.url, other.credential(), verify_challenge_resource=False, connection_verify=other.ca_file)
        assert list(client.list_properties_of_keys()) == []
        folder = Path(one.ca_file).parent
        assert one.token().count(".") == 2
    assert not folder.parent.exists()


def test_what_keeps_it_from_starting_is_told():
    with pytest.raises(RuntimeError, match="deleted keys|7..=90|retention"):
        Emulator("--retention-days", "3")


def test_the_program_is_the_packages():
    assert subprocess.run([program(), "--version"], check=True, capture_output=True).stdout.startswith(b"managed-hsm-emulator ")
    assert "site-packages" not in program()
