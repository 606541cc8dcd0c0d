import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test from "node:test";
import { ClientSecretCredential } from "@azure/identity";
import { KeyClient } from "@azure/keyvault-keys";
import { start } from "managed-hsm-emulator";

const credential = ({ environment, tlsOptions }) =>
  new ClientSecretCredential(environment.AZURE_TENANT_ID, environment.AZURE_CLIENT_ID, environment.AZURE_CLIENT_SECRET, {
    authorityHost: environment.AZURE_AUTHORITY_HOST,
    disableInstanceDiscovery: true,
    tlsOptions,
  });

test("a key is made, and nothing is left", async () => {
  const emulator = await start(["--vault", "MyVault"]);
  const { url, vaultUrl, tlsOptions, caFile } = emulator;
  try {
    const client = new KeyClient(url, credential(emulator), { disableChallengeResourceVerification: true, tlsOptions });
    assert.equal((await client.createEcKey("demo", { curve: "P-256", hsm: true })).keyType, "EC-HSM");
    assert.match(emulator.log(), /path=\/keys\/demo/);
    assert.match(vaultUrl, /^https:/);
    assert.equal((await emulator.token({ expiresIn: -5 })).split(".").length, 3);
  } finally {
    await emulator.stop();
  }
  assert.ok(!existsSync(dirname(dirname(caFile))));
});

test("what keeps it from starting is told", async () => {
  await assert.rejects(start(["--retention-days", "3"]), /retention|7\.\.=90/);
});

test("a command runs beside an emulator", () => {
  const printed = execFileSync("npx", ["managed-hsm-emulator", "run", "--", "sh", "-c", "echo $AZURE_MANAGEDHSM_URL"]);
  assert.match(printed.toString(), /^https:\/\/localhost:\d+\n$/);
});

test("who ends the command ends the emulator", async () => {
  const folder = mkdtempSync(join(tmpdir(), "managed-hsm-emulator-"));
  const data = join(folder, "data");
  const command = join("node_modules", ".bin", "managed-hsm-emulator");
  const child = spawn(command, ["serve", "--data-dir", data], { stdio: "ignore" });
  execFileSync(command, ["env", "--wait", "30", "--data-dir", data]);
  child.kill("SIGTERM");
  assert.deepEqual(await once(child, "close"), [0, null]);
  assert.ok(!existsSync(join(data, "endpoint")));
  rmSync(folder, { recursive: true });
});
