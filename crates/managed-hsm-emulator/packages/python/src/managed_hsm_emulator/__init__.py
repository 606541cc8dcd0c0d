"""A local Azure Managed HSM and Key Vault for tests. It is not an HSM: keys lie in a temporary folder.

    with Emulator() as hsm:
        client = KeyClient(hsm.url, hsm.credential(), verify_challenge_resource=False)

With pytest, a test takes the fixture ``managed_hsm``.
"""

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

__all__ = ["Emulator", "program"]


def program():
    """The path of the program ``managed-hsm-emulator``: the one installed with this package, else the first in PATH.

    Raises FileNotFoundError where there is none.
    """
    own = Path(sysconfig.get_path("scripts")) / "managed-hsm-emulator"
    found = str(own) if own.is_file() else shutil.which("managed-hsm-emulator")
    if found is None:
        raise FileNotFoundError("managed-hsm-emulator is neither installed with this package nor in PATH")
    return found


class Emulator:
    """A running emulator, until ``stop`` or the end of its ``with`` block.

    ``options`` are those of ``managed-hsm-emulator serve``, such as ``"--vault", "MyVault"``. Without ``--data-dir`` its keys
    are in a temporary folder. Raises RuntimeError, with what it said, where it doesn't start within ``wait`` seconds.

    Attributes: ``url``, the HSM's URL; ``vault_url``, that of the first vault, or None; ``ca_file``, the PEM file of the CA to
    trust; ``environment``, the variables with which other programs use it as its owner.
    """

    def __init__(self, *options, wait=30):
        self._temporary = None
        options = [str(option) for option in options]
        if "--data-dir" in options:
            data_dir = options[options.index("--data-dir") + 1]
        else:
            self._temporary = tempfile.TemporaryDirectory(prefix="managed-hsm-emulator-")
            # The emulator makes it, for its owner alone.
            data_dir = os.path.join(self._temporary.name, "data")
            options += ["--data-dir", data_dir]
        self._data_dir = data_dir
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [program(), "serve", *options], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        try:
            self.environment = json.loads(self._ask("env", "--identity", "--format", "json", "--wait", str(wait)))
        except RuntimeError as error:
            self.stop()
            raise RuntimeError(f"the emulator did not start: {self.log().strip() or error}") from None
        self.url = self.environment["AZURE_MANAGEDHSM_URL"]
        self.vault_url = self.environment.get("AZURE_KEYVAULT_URL")
        self.ca_file = self.environment["AKV_CA_FILE"]

    def _ask(self, *arguments):
        asked = subprocess.Popen(
            [program(), *arguments, "--data-dir", self._data_dir],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        # There is nothing to wait for once the emulator itself has ended.
        while True:
            try:
                printed, problem = asked.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                if self._process.poll() is not None:
                    asked.kill()
        if asked.returncode != 0:
            raise RuntimeError(problem.strip() or "it has ended")
        return printed

    def token(self, audience="https://managedhsm.azure.net", expires_in=86400, principal=None):
        """A bearer token for ``audience``, of the owner or of the principal with this object id, for so many seconds."""
        options = ["--audience", audience, "--expires-in", str(expires_in)]
        if principal is not None:
            options += ["--principal", principal]
        return self._ask("token", *options).strip()

    def credential(self):
        """The owner's credential, for Microsoft's libraries. Needs the package ``azure-identity``."""
        from azure.identity import ClientSecretCredential

        return ClientSecretCredential(
            self.environment["AZURE_TENANT_ID"],
            self.environment["AZURE_CLIENT_ID"],
            self.environment["AZURE_CLIENT_SECRET"],
            authority=self.environment["AZURE_AUTHORITY_HOST"],
            disable_instance_discovery=True,
            connection_verify=self.ca_file,
        )

    def log(self):
        """What it has printed so far: a line for each request."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def stop(self):
        """Ends it, and removes its temporary folder."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
