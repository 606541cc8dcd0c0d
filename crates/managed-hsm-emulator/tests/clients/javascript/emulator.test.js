// Microsoft's JavaScript libraries against the emulator, over HTTPS with normal verification.
//
// The environment is that of `managed-hsm-emulator env --identity`. Requests to the service's own domain are sent to the
// emulator's address, so that the libraries see a host that they trust.

import assert from "node:assert/strict";
import crypto from "node:crypto";
import test from "node:test";
import { ClientSecretCredential } from "@azure/identity";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";

const vault = "https://jshsm.managedhsm.azure.net";
const endpoint = process.env.AZURE_MANAGEDHSM_URL;

const leadHere = {
  name: "leadHere",
  sendRequest(request, next) {
    const copy = Object.assign(Object.create(Object.getPrototypeOf(request)), request);
    copy.url = request.url.replace(vault, endpoint);
    copy.headers.set("host", new URL(vault).host);
    return next(copy);
  },
};
const options = { additionalPolicies: [{ policy: leadHere, position: "perRetry" }], retryOptions: { maxRetries: 0 } };

function credential(secret = process.env.AZURE_CLIENT_SECRET) {
  return new ClientSecretCredential(process.env.AZURE_TENANT_ID, process.env.AZURE_CLIENT_ID, secret, {
    authorityHost: process.env.AZURE_AUTHORITY_HOST,
    disableInstanceDiscovery: true,
  });
}

const owner = credential();
const client = new KeyClient(vault, owner, options);
const cryptography = (key) => new CryptographyClient(key, owner, options);
const newName = () => `key-${crypto.randomUUID()}`;

async function collect(pages) {
  const all = [];
  for await (const one of pages) all.push(one);
  return all;
}

test("keys of every type are created", async () => {
  for (const keySize of [2048, 3072, 4096]) {
    const key = await client.createRsaKey(newName(), { keySize, hsm: true });
    assert.equal(key.keyType, "RSA-HSM");
    assert.equal(key.key.n.length * 8, keySize);
  }
  for (const curve of ["P-256", "P-256K", "P-384", "P-521"]) {
    const key = await client.createEcKey(newName(), { curve, hsm: true });
    assert.deepEqual([key.keyType, key.key.crv], ["EC-HSM", curve]);
  }
  for (const keySize of [128, 192, 256]) {
    assert.equal((await client.createOctKey(newName(), { keySize, hsm: true })).keyType, "oct-HSM");
  }
});

test("signatures verify here and there", async () => {
  const rsa = await client.createRsaKey(newName(), { keySize: 2048 });
  const cases = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map((algorithm) => [rsa, algorithm]);
  for (const [curve, algorithm] of [["P-256", "ES256"], ["P-256K", "ES256K"], ["P-384", "ES384"], ["P-521", "ES512"]]) {
    cases.push([await client.createEcKey(newName(), { curve }), algorithm]);
  }
  for (const [key, algorithm] of cases) {
    const hash = `sha${algorithm.slice(2, 5)}`;
    const digest = crypto.createHash(hash).update("message").digest();
    const { result } = await cryptography(key).sign(algorithm, digest);
    assert.ok((await cryptography(key).verify(algorithm, digest, result)).result, algorithm);
    const pss = algorithm.startsWith("PS") && {
      padding: crypto.constants.RSA_PKCS1_PSS_PADDING,
      saltLength: digest.length,
    };
    const base64url = (bytes) => Buffer.from(bytes).toString("base64url");
    const jwk = algorithm.startsWith("E")
      ? { kty: "EC", crv: key.key.crv.replace("P-256K", "secp256k1"), x: base64url(key.key.x), y: base64url(key.key.y) }
      : { kty: "RSA", n: base64url(key.key.n), e: base64url(key.key.e) };
    const publicKey = crypto.createPublicKey({ key: jwk, format: "jwk" });
    assert.ok(
      crypto.verify(hash, "message", { key: publicKey, dsaEncoding: "ieee-p1363", ...pss }, result),
      algorithm,
    );
    result[3] ^= 1;
    assert.ok(!(await cryptography(key).verify(algorithm, digest, result)).result, algorithm);
  }
});

test("what is encrypted or wrapped is decrypted and unwrapped", async () => {
  const plaintext = Buffer.from("plain");
  const rsa = await client.createRsaKey(newName(), { keySize: 2048 });
  for (const algorithm of ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"]) {
    const { result } = await cryptography(rsa).encrypt({ algorithm, plaintext });
    const opened = await cryptography(rsa).decrypt({ algorithm, ciphertext: result });
    assert.deepEqual(Buffer.from(opened.result), plaintext);
    const wrapped = await cryptography(rsa).wrapKey(algorithm, Buffer.alloc(32));
    assert.deepEqual(Buffer.from((await cryptography(rsa).unwrapKey(algorithm, wrapped.result)).result), Buffer.alloc(32));
  }
  for (const keySize of [128, 192, 256]) {
    const key = cryptography(await client.createOctKey(newName(), { keySize }));
    const additionalAuthenticatedData = Buffer.from("aad");
    const gcm = `A${keySize}GCM`;
    const sealed = await key.encrypt({ algorithm: gcm, plaintext, additionalAuthenticatedData });
    const opened = await key.decrypt({
      algorithm: gcm,
      ciphertext: sealed.result,
      iv: sealed.iv,
      authenticationTag: sealed.authenticationTag,
      additionalAuthenticatedData,
    });
    assert.deepEqual(Buffer.from(opened.result), plaintext);
    const iv = Buffer.alloc(16);
    const cbc = `A${keySize}CBCPAD`;
    const chained = await key.encrypt({ algorithm: cbc, plaintext, iv });
    assert.deepEqual(Buffer.from((await key.decrypt({ algorithm: cbc, ciphertext: chained.result, iv })).result), plaintext);
    const wrapped = await key.wrapKey(`A${keySize}KW`, Buffer.alloc(16));
    assert.deepEqual(
      Buffer.from((await key.unwrapKey(`A${keySize}KW`, wrapped.result)).result),
      Buffer.alloc(16),
    );
  }
});

test("the life of a key", async () => {
  const name = newName();
  const made = await client.createRsaKey(name, { tags: { a: "b" } });
  assert.equal((await client.getKey(name)).id, made.id);
  const updated = await client.updateKeyProperties(name, made.properties.version, { enabled: false });
  assert.equal(updated.properties.enabled, false);
  await client.updateKeyProperties(name, made.properties.version, { enabled: true });
  const rotated = await client.rotateKey(name);
  const versions = await collect(client.listPropertiesOfKeyVersions(name));
  assert.deepEqual(versions.map((one) => one.version), [made.properties.version, rotated.properties.version]);
  assert.ok((await collect(client.listPropertiesOfKeys())).some((one) => one.name === name));
  const backup = await client.backupKey(name);
  await (await client.beginDeleteKey(name, { intervalInMs: 1 })).pollUntilDone();
  assert.ok((await collect(client.listDeletedKeys())).some((one) => one.name === name));
  await assert.rejects(client.getKey(name), { statusCode: 404, code: "KeyNotFound" });
  await (await client.beginRecoverDeletedKey(name, { intervalInMs: 1 })).pollUntilDone();
  await (await client.beginDeleteKey(name, { intervalInMs: 1 })).pollUntilDone();
  await client.purgeDeletedKey(name);
  const restored = await client.restoreKeyBackup(backup);
  assert.equal(restored.properties.version, rotated.properties.version);
});

test("policies, random bytes and imports", async () => {
  const name = newName();
  await client.createEcKey(name);
  const lifetimeActions = [{ action: "Rotate", timeAfterCreate: "P30D" }];
  const policy = await client.updateKeyRotationPolicy(name, { expiresIn: "P90D", lifetimeActions });
  assert.equal(policy.expiresIn, "P90D");
  assert.equal((await client.getKeyRotationPolicy(name)).lifetimeActions.length, 1);
  assert.equal((await client.getRandomBytes(16)).length, 16);
  const imported = await client.importKey(newName(), { kty: "oct", keyOps: ["wrapKey"], k: Buffer.alloc(32) });
  assert.equal(imported.keyType, "oct-HSM");
  const encodedPolicy = Buffer.from('{"version":"1.0.0","anyOf":[]}');
  const exportable = await client.createRsaKey(newName(), { exportable: true, releasePolicy: { encodedPolicy } });
  assert.ok(exportable.properties.exportable);
});

test("errors have their codes", async () => {
  await assert.rejects(client.createOctKey(newName(), { keySize: 64 }), { statusCode: 400, code: "BadParameter" });
  const user = new ClientSecretCredential(
    process.env.AZURE_TENANT_ID,
    process.env.TEST_USER_CLIENT_ID,
    process.env.TEST_USER_SECRET,
    { authorityHost: process.env.AZURE_AUTHORITY_HOST, disableInstanceDiscovery: true },
  );
  const denied = new KeyClient(vault, user, options);
  await assert.rejects(denied.getRandomBytes(4), { statusCode: 403, code: "AccessDenied" });
  const stranger = new KeyClient(vault, credential("wrong"), options);
  await assert.rejects(stranger.getKey("key"), /AADSTS7000215/);
});
