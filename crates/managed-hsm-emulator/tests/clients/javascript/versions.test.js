// One small flow for every version of @azure/keyvault-keys, with an HSM and a vault.
//
// The names of the service lead to the emulator, and nothing in the library is changed. What a version doesn't have yet is
// skipped; whoever runs this knows how many tests that are.

import assert from "node:assert/strict";
import crypto from "node:crypto";
import test from "node:test";
import { ClientSecretCredential, EnvironmentCredential } from "@azure/identity";
import * as judge from "./judge.js";

// Where several versions are installed, each has a name of its own.
const library = await import(process.env.KEYVAULT_KEYS ?? "@azure/keyvault-keys");
// The first versions have their names in the default export only.
const { CryptographyClient, KeyClient } = library.KeyClient ? library : library.default;
const owner = new EnvironmentCredential();
const user = (secret = process.env.TEST_USER_SECRET) =>
  new ClientSecretCredential(process.env.AZURE_TENANT_ID, process.env.TEST_USER_CLIENT_ID, secret);
const ecSignatures = { "P-256": "ES256", "P-256K": "ES256K", "P-384": "ES384", "P-521": "ES512" };
const newName = () => `key-${crypto.randomUUID()}`;
const digestFor = (algorithm) => crypto.createHash(`sha${algorithm.slice(2, 5)}`).update("message").digest();
const at = { intervalInMs: 1 };
const unlessKnown = (method) => (method in KeyClient.prototype ? false : `no ${method}`);
const isFirst = process.env.KEYVAULT_KEYS === "keys-4.0.0";
const material = (key) => key.key ?? key.keyMaterial;

async function collect(pages) {
  const all = [];
  for await (const one of pages) all.push(one);
  return all;
}

async function signsAndVerifies(key, algorithm) {
  const client = new CryptographyClient(key.id, owner);
  const digest = digestFor(algorithm);
  const { result } = await client.sign(algorithm, digest);
  assert.ok(judge.verifies(material(key), algorithm, digest, result), algorithm);
  assert.equal((await client.verify(algorithm, digest, result)).result, true, algorithm);
  const damaged = Uint8Array.from(result);
  damaged[damaged.length - 1] ^= 1;
  assert.equal((await client.verify(algorithm, digest, damaged)).result, false, algorithm);
}

async function decryptsAndUnwraps(key, algorithm) {
  const client = new CryptographyClient(key.id, owner);
  const plain = Buffer.from("plain");
  const sealed = [judge.encrypted(material(key), algorithm, plain)];
  const wrapped = [...sealed];
  // The first version refuses to encrypt by RSA1_5 and RSA-OAEP with what isn't of the type RSA, before they ask the service.
  if (isFirst && key.keyType === "RSA-HSM" && algorithm !== "RSA-OAEP-256") {
    await assert.rejects(client.encrypt(algorithm, plain), /Key type does not match algorithm/);
  } else {
    sealed.push((await client.encrypt(algorithm, plain)).result);
    wrapped.push((await client.wrapKey(algorithm, plain)).result);
  }
  for (const one of sealed) assert.deepEqual(Buffer.from((await client.decrypt(algorithm, one)).result), plain);
  for (const one of wrapped) assert.deepEqual(Buffer.from((await client.unwrapKey(algorithm, one)).result), plain);
}

const services = [
  { title: "HSM", url: "https://fabrikam.managedhsm.azure.net", denied: "AccessDenied" },
  { title: "vault", url: "https://contoso.vault.azure.net", denied: "Forbidden" },
];

for (const { title, url, denied } of services) {
  const client = new KeyClient(url, owner);

  test(`${title}: RSA keys sign, decrypt and unwrap`, async () => {
    for (const hsm of [true, false]) {
      const key = await client.createRsaKey(newName(), { keySize: 3072, hsm });
      assert.equal(material(key).n.length * 8, 3072);
      for (const algorithm of ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]) await signsAndVerifies(key, algorithm);
      for (const algorithm of ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"]) await decryptsAndUnwraps(key, algorithm);
    }
  });

  test(`${title}: EC keys sign`, async () => {
    for (const [curve, algorithm] of Object.entries(ecSignatures)) {
      for (const hsm of [true, false]) {
        const key = await client.createEcKey(newName(), { curve, hsm });
        assert.equal(material(key).crv, curve);
        await signsAndVerifies(key, algorithm);
      }
    }
  });

  test(`${title}: keys made elsewhere are imported`, async () => {
    for (const hardwareProtected of [true, false]) {
      for (const [made, algorithm] of [[judge.newRsa(2048), "PS256"], [judge.newEc("P-384"), "ES384"]]) {
        const key = await client.importKey(newName(), made, { hardwareProtected });
        await signsAndVerifies(key, algorithm);
      }
    }
  });

  test(`${title}: a key lives through all of its life`, async () => {
    const name = newName();
    const first = (await client.createEcKey(name, { tags: { a: "b" } })).properties.version;
    const second = (await client.createEcKey(name)).properties.version;
    const versions = (await collect(client.listPropertiesOfKeyVersions(name))).map((one) => one.version);
    assert.deepEqual(versions.sort(), [first, second].sort());
    assert.ok((await collect(client.listPropertiesOfKeys())).some((one) => one.name === name));
    assert.deepEqual((await client.getKey(name, { version: first })).properties.tags, { a: "b" });
    const updated = await client.updateKeyProperties(name, second, { enabled: false, tags: { c: "d" } });
    assert.deepEqual([updated.properties.enabled, updated.properties.tags], [false, { c: "d" }]);
    const backup = await client.backupKey(name);
    const remove = async () => (await client.beginDeleteKey(name, at)).pollUntilDone();
    const deleted = await remove();
    assert.ok(deleted.properties.scheduledPurgeDate > deleted.properties.deletedOn);
    assert.ok((await collect(client.listDeletedKeys())).some((one) => one.name === name));
    await assert.rejects(client.getKey(name), { statusCode: 404 });
    await assert.rejects(client.createEcKey(name), { statusCode: 409 });
    await (await client.beginRecoverDeletedKey(name, at)).pollUntilDone();
    await remove();
    await client.purgeDeletedKey(name);
    await assert.rejects(client.getDeletedKey(name), { statusCode: 404 });
    assert.equal((await client.restoreKeyBackup(backup)).properties.version, second);
  });

  test(`${title}: a key is rotated by its policy`, { skip: unlessKnown("rotateKey") }, async () => {
    const key = await client.createRsaKey(newName());
    const policy = { lifetimeActions: [{ action: "Rotate", timeAfterCreate: "P90D" }] };
    const updated = await client.updateKeyRotationPolicy(key.name, policy);
    const read = await client.getKeyRotationPolicy(key.name);
    for (const { lifetimeActions } of [updated, read]) assert.ok(lifetimeActions.some((one) => one.timeAfterCreate === "P90D"));
    const rotated = await client.rotateKey(key.name);
    assert.notEqual(rotated.id, key.id);
    assert.equal((await client.getKey(key.name)).id, rotated.id);
  });

  test(`${title}: what is refused is told`, async () => {
    await assert.rejects(client.getKey(newName()), (error) => {
      assert.equal(error.statusCode, 404);
      return JSON.stringify([error.code, error.message]).includes("KeyNotFound") || error.message.includes("not found");
    });
    await assert.rejects(new KeyClient(url, user("wrong")).getKey("any"), /AADSTS7000215/);
    await assert.rejects(new KeyClient(url, user()).getKey("any"), { statusCode: 403, code: denied });
  });
}

test("HSM: symmetric keys are created", { skip: unlessKnown("createOctKey") }, async () => {
  const client = new KeyClient(services[0].url, owner);
  for (const keySize of [128, 192, 256]) {
    const key = await client.createOctKey(newName(), { keySize, hsm: true });
    assert.equal(key.keyType, "oct-HSM");
    assert.equal((await client.getKey(key.name)).id, key.id);
  }
});

test("HSM: random bytes are given", { skip: unlessKnown("getRandomBytes") }, async () => {
  const client = new KeyClient(services[0].url, owner);
  const [first, second] = [await client.getRandomBytes(32), await client.getRandomBytes(32)];
  const bytes = (answer) => Buffer.from(answer.bytes ?? answer);
  assert.deepEqual([bytes(first).length, bytes(second).length], [32, 32]);
  assert.notDeepEqual(bytes(first), bytes(second));
});
