// Microsoft's JavaScript libraries against the emulator, over HTTPS with normal verification: every method for the keys of a
// Managed HSM, with keys of every type.

import assert from "node:assert/strict";
import crypto from "node:crypto";
import test from "node:test";
import { AuthenticationRequiredError } from "@azure/identity";
import { CryptographyClient, KeyClient, KnownKeyExportEncryptionAlgorithm } from "@azure/keyvault-keys";
import * as judge from "./judge.js";
import {
  assign,
  called,
  credential,
  cryptography,
  curves,
  endpoint,
  fault,
  keyClient,
  kinds,
  localOnly,
  newName,
  octSizes,
  rsaSizes,
  user,
  vault,
} from "./service.js";

const client = keyClient();
const rsaSignatures = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
const ecSignatures = { "P-256": "ES256", "P-256K": "ES256K", "P-384": "ES384", "P-521": "ES512" };
const message = Buffer.from("message");
const hash = (algorithm) => `sha${algorithm.slice(2, 5)}`;
const digestFor = (algorithm) => crypto.createHash(hash(algorithm)).update(message).digest();
const at = { intervalInMs: 1 };

async function collect(pages) {
  const all = [];
  for await (const one of pages) all.push(one);
  return all;
}

const versionsOf = async (name) => (await collect(client.listPropertiesOfKeyVersions(name))).map((one) => one.version);
const remove = async (name) => (await client.beginDeleteKey(name, at)).pollUntilDone();

function damaged(bytes) {
  const copy = Uint8Array.from(bytes);
  copy[3] ^= 1;
  return copy;
}

test("keys of every type are created", async () => {
  assert.equal(client.vaultUrl, vault);
  for (const [method, options, keyType] of kinds) {
    for (const key of [
      await client[method](newName(), options),
      await client.createKey(newName(), keyType, options),
    ]) {
      assert.equal(key.keyType, keyType);
      assert.equal(key.key.crv, options.curve);
      if (keyType === "RSA-HSM") assert.equal(key.key.n.length * 8, options.keySize);
    }
  }
});

test("keys of every type live through all of their life", async () => {
  for (const [method, options] of kinds) {
    const name = newName();
    const made = await client[method](name, { ...options, tags: { a: "b" } });
    const { version } = made.properties;
    assert.equal((await client.getKey(name)).id, made.id);
    assert.equal((await client.getKey(name, { version })).id, made.id);
    const updated = await client.updateKeyProperties(name, version, { enabled: false, tags: { c: "d" } });
    assert.deepEqual([updated.properties.enabled, updated.properties.tags], [false, { c: "d" }]);
    const changed = await client.updateKeyProperties(name, { enabled: true, keyOps: ["verify"] });
    assert.deepEqual([changed.properties.enabled, changed.keyOperations], [true, ["verify"]]);

    await client.updateKeyRotationPolicy(name, { lifetimeActions: [{ action: "Rotate", timeAfterCreate: "P2Y" }] });
    const rotated = await client.rotateKey(name);
    const both = [version, rotated.properties.version];
    assert.equal(new Set(both).size, 2);
    assert.deepEqual(await versionsOf(name), both);

    const backup = await client.backupKey(name);
    const deleted = await remove(name);
    assert.ok(deleted.properties.scheduledPurgeDate > deleted.properties.deletedOn);
    assert.equal((await client.getDeletedKey(name)).properties.recoveryId, deleted.properties.recoveryId);
    assert.ok((await collect(client.listDeletedKeys())).some((one) => one.name === name));
    await assert.rejects(client.getKey(name), { statusCode: 404, code: "KeyNotFound" });
    await assert.rejects(client[method](name, options), { statusCode: 409, code: "Conflict" });
    const recovered = await (await client.beginRecoverDeletedKey(name, at)).pollUntilDone();
    assert.equal(recovered.name, name);
    assert.deepEqual(await versionsOf(name), both);

    await remove(name);
    await client.purgeDeletedKey(name);
    await assert.rejects(client.getDeletedKey(name), { statusCode: 404, code: "KeyNotFound" });
    const restored = await client.restoreKeyBackup(backup);
    assert.equal(restored.properties.version, rotated.properties.version);
    assert.deepEqual(await versionsOf(name), both);
    await assert.rejects(client.restoreKeyBackup(backup), { statusCode: 409, code: "Conflict" });
  }
});

test("lists come page by page", async () => {
  const made = [];
  for (let i = 0; i < 5; i++) made.push((await client.createOctKey(newName())).name);
  const check = async (listed) => {
    const pages = (await collect(listed.byPage({ maxPageSize: 2 }))).map((page) => page.map((one) => one.name));
    assert.ok(pages.length >= 3 && pages.slice(0, -1).every((page) => page.length === 2));
    const names = pages.flat();
    assert.equal(new Set(names).size, names.length);
    for (const name of made) assert.ok(names.includes(name), name);
  };
  await check(client.listPropertiesOfKeys());
  for (const name of made) await remove(name);
  await check(client.listDeletedKeys());

  const name = newName();
  const versions = [];
  for (let i = 0; i < 5; i++) versions.push((await client.createOctKey(name)).properties.version);
  const pages = await collect(client.listPropertiesOfKeyVersions(name).byPage({ maxPageSize: 2 }));
  assert.deepEqual(
    pages.map((page) => page.map((one) => one.version)),
    [versions.slice(0, 2), versions.slice(2, 4), versions.slice(4)],
  );
});

test("keys of every type are imported", async () => {
  const pairs = [
    ...rsaSizes.map((size) => [judge.newRsa(size), "PS256"]),
    ...curves.map((curve) => [judge.newEc(curve), ecSignatures[curve]]),
  ];
  for (const [own, algorithm] of pairs) {
    const imported = await client.importKey(newName(), own, { hardwareProtected: true });
    assert.equal(imported.keyType, `${own.kty}-HSM`);
    assert.equal(imported.key.d, undefined);
    for (const member of ["n", "e", "x", "y"]) {
      assert.deepEqual(imported.key[member] && Buffer.from(imported.key[member]), own[member]);
    }
    const { result } = await cryptography(imported).sign(algorithm, digestFor(algorithm));
    assert.ok(judge.verifies(own, algorithm, digestFor(algorithm), result), algorithm);
  }
  for (const size of octSizes) {
    const own = { kty: "oct", keyOps: ["wrapKey"], k: crypto.randomBytes(size / 8) };
    const imported = await client.importKey(newName(), own);
    assert.deepEqual([imported.keyType, imported.key.k], ["oct-HSM", undefined]);
  }
});

test("keys have times", async () => {
  const now = Math.floor(Date.now() / 1000) * 1000;
  const times = { notBefore: new Date(now - 86_400_000), expiresOn: new Date(now + 86_400_000) };
  for (const [method, options] of kinds) {
    const { name } = await client[method](newName(), { ...options, ...times });
    const { properties } = await client.getKey(name);
    assert.deepEqual({ notBefore: properties.notBefore, expiresOn: properties.expiresOn }, times);
    assert.ok(properties.createdOn && properties.updatedOn && properties.recoveryLevel);
  }
});

test("rotation policies are set and followed", async () => {
  for (const [method, options] of kinds) {
    const { name } = await client[method](newName(), options);
    assert.equal((await client.getKeyRotationPolicy(name)).lifetimeActions, undefined);
    await assert.rejects(client.rotateKey(name), { statusCode: 400, code: "BadParameter" });
    const lifetimeActions = [{ action: "Rotate", timeAfterCreate: "P30D" }];
    await client.updateKeyRotationPolicy(name, { expiresIn: "P90D", lifetimeActions });
    const policy = await client.getKeyRotationPolicy(name);
    assert.equal(policy.expiresIn, "P90D");
    assert.deepEqual(policy.lifetimeActions.map((one) => one.timeAfterCreate), ["P30D"]);
    const { properties } = await client.rotateKey(name);
    assert.equal(properties.expiresOn - properties.createdOn, 90 * 86_400_000);
  }
});

test("random bytes differ", async () => {
  const bytes = await client.getRandomBytes(128);
  assert.equal(bytes.length, 128);
  assert.notDeepEqual(await client.getRandomBytes(128), bytes);
  for (const count of [0, 129]) {
    await assert.rejects(client.getRandomBytes(count), { statusCode: 400, code: "BadParameter" });
  }
});

test("keys of every type are released by an attestation", async () => {
  const policy = {
    version: "1.0.0",
    anyOf: [{ authority: endpoint, allOf: [{ claim: "sdk-test", equals: "true" }] }],
  };
  const releasePolicy = { encodedPolicy: Buffer.from(JSON.stringify(policy)) };
  const { token } = await (await fetch(`${endpoint}/generate-test-token`)).json();
  for (const [method, options] of kinds) {
    const key = await client[method](newName(), { ...options, exportable: true, releasePolicy });
    assert.ok(key.properties.exportable);
    for (const algorithm of Object.values(KnownKeyExportEncryptionAlgorithm)) {
      const released = await client.releaseKey(key.name, token, { algorithm, nonce: "once" });
      const payload = JSON.parse(Buffer.from(released.value.split(".")[1], "base64url").toString());
      assert.equal(payload.request.enc, algorithm);
      assert.equal(payload.response.key.key.kid, key.id);
    }
    await assert.rejects(client.releaseKey(key.name, "not an attestation"), { statusCode: 403, code: "Forbidden" });
  }
  await assert.rejects(client.createRsaKey(newName(), { exportable: true }), { statusCode: 400 });
});

test("keys of every type have an attestation", async () => {
  for (const [method, options, keyType] of kinds) {
    const { name, id } = await client[method](newName(), options);
    const attested = await client.getKeyAttestation(name);
    assert.equal(attested.id, id);
    const { attestation } = attested.properties;
    assert.ok(Buffer.from(attestation.certificatePemFile).includes("BEGIN CERTIFICATE"));
    assert.ok(attestation.privateKeyAttestation);
    assert.equal(attestation.publicKeyAttestation === undefined, keyType === "oct-HSM");
  }
});

test("signatures verify everywhere", async () => {
  const cases = [];
  for (const keySize of rsaSizes) {
    const key = await client.createRsaKey(newName(), { keySize });
    for (const algorithm of rsaSignatures) cases.push([key, algorithm]);
  }
  for (const [curve, algorithm] of Object.entries(ecSignatures)) {
    cases.push([await client.createEcKey(newName(), { curve }), algorithm]);
  }
  for (const [key, algorithm] of cases) {
    const digest = digestFor(algorithm);
    const remote = cryptography(key);
    const signed = await remote.sign(algorithm, digest);
    assert.equal(signed.keyID, key.id);
    for (const made of [signed.result, (await remote.signData(algorithm, message)).result]) {
      for (const [signature, good] of [
        [made, true],
        [damaged(made), false],
      ]) {
        assert.equal(judge.verifies(key.key, algorithm, digest, signature), good, algorithm);
        assert.equal((await remote.verify(algorithm, digest, signature)).result, good, algorithm);
        // The library verifies by itself only RSA signatures, and @azure/keyvault-keys 4.10.2 takes PS* for RS*.
        if (algorithm.startsWith("RS")) {
          assert.equal((await localOnly(key.key).verifyData(algorithm, message, signature)).result, good, algorithm);
        }
        if (!algorithm.startsWith("PS")) {
          assert.equal((await remote.verifyData(algorithm, message, signature)).result, good, algorithm);
        }
      }
    }
  }
});

test("symmetric keys authenticate", async () => {
  for (const size of [256, 384, 512]) {
    const k = crypto.randomBytes(size / 8);
    const key = await client.importKey(newName(), { kty: "oct", keyOps: ["sign", "verify"], k });
    // A key is at least as long as the digest.
    for (const algorithm of ["HS256", "HS384", "HS512"].filter((one) => one.slice(2) <= size)) {
      const digest = digestFor(algorithm);
      const { result } = await cryptography(key).sign(algorithm, digest);
      assert.deepEqual(Buffer.from(result), crypto.createHmac(hash(algorithm), k).update(digest).digest());
      assert.ok((await cryptography(key).verify(algorithm, digest, result)).result, algorithm);
      assert.ok(!(await cryptography(key).verify(algorithm, digest, damaged(result))).result, algorithm);
    }
  }
});

test("what RSA keys encrypt and wrap they decrypt and unwrap", async () => {
  const plaintext = Buffer.from("plain");
  for (const keySize of rsaSizes) {
    const key = await client.createRsaKey(newName(), { keySize });
    const remote = cryptography(key);
    for (const algorithm of ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"]) {
      // The library has no RSA-OAEP-256 of its own.
      const sealing = algorithm === "RSA-OAEP-256" ? [remote] : [remote, localOnly(key.key)];
      for (const one of sealing) {
        const { result: ciphertext } = await one.encrypt({ algorithm, plaintext });
        assert.deepEqual(Buffer.from((await remote.decrypt({ algorithm, ciphertext })).result), plaintext);
        const wrapped = await one.wrapKey(algorithm, Buffer.alloc(32, 7));
        const { result } = await remote.unwrapKey(algorithm, wrapped.result);
        assert.deepEqual(Buffer.from(result), Buffer.alloc(32, 7));
      }
    }
  }
});

test("what symmetric keys encrypt and wrap they decrypt and unwrap", async () => {
  const plaintext = Buffer.from("plain");
  for (const size of octSizes) {
    const k = crypto.randomBytes(size / 8);
    const jwk = { kty: "oct", keyOps: ["encrypt", "decrypt", "wrapKey", "unwrapKey"], k };
    const key = cryptography(await client.importKey(newName(), jwk));
    const additionalAuthenticatedData = Buffer.from("aad");
    const gcm = `A${size}GCM`;
    const sealed = await key.encrypt({ algorithm: gcm, plaintext, additionalAuthenticatedData });
    const decipher = crypto.createDecipheriv(`aes-${size}-gcm`, k, sealed.iv).setAAD(additionalAuthenticatedData);
    decipher.setAuthTag(sealed.authenticationTag);
    assert.deepEqual(Buffer.concat([decipher.update(sealed.result), decipher.final()]), plaintext);
    const ciphertext = {
      algorithm: gcm,
      ciphertext: sealed.result,
      iv: sealed.iv,
      authenticationTag: sealed.authenticationTag,
      additionalAuthenticatedData,
    };
    assert.deepEqual(Buffer.from((await key.decrypt(ciphertext)).result), plaintext);
    const otherData = { ...ciphertext, additionalAuthenticatedData: Buffer.from("other") };
    await assert.rejects(key.decrypt(otherData), { statusCode: 400, code: "BadParameter" });

    const iv = crypto.randomBytes(16);
    for (const [algorithm, plain] of [
      [`A${size}CBCPAD`, plaintext],
      [`A${size}CBC`, Buffer.alloc(32, 1)],
    ]) {
      const { result } = await key.encrypt({ algorithm, plaintext: plain, iv });
      assert.deepEqual(Buffer.from((await key.decrypt({ algorithm, ciphertext: result, iv })).result), plain);
      if (algorithm.endsWith("PAD")) {
        const here = await localOnly(jwk).decrypt({ algorithm, ciphertext: result, iv });
        assert.deepEqual(Buffer.from(here.result), plain);
      }
    }
    for (const [algorithm, plain] of [
      [`A${size}KW`, Buffer.alloc(16, 1)],
      ["CKM_AES_KEY_WRAP", Buffer.alloc(24, 2)],
      ["CKM_AES_KEY_WRAP_PAD", Buffer.from("seven b")],
    ]) {
      const wrapped = await key.wrapKey(algorithm, plain);
      assert.deepEqual(judge.aesUnwrapped(k, algorithm, wrapped.result), plain, algorithm);
      assert.deepEqual(Buffer.from((await key.unwrapKey(algorithm, wrapped.result)).result), plain, algorithm);
    }
  }
});

test("the newest version is meant unless one is named", async () => {
  const name = newName();
  const older = await client.createEcKey(name);
  const newest = await client.createEcKey(name);
  for (const [key, options] of [
    [newest, {}],
    [older, { keyVersion: older.properties.version }],
  ]) {
    const one = client.getCryptographyClient(name, options);
    assert.equal(one.vaultUrl, vault);
    const { result } = await one.sign("ES256", digestFor("ES256"));
    assert.ok(judge.verifies(key.key, "ES256", digestFor("ES256"), result));
  }
  assert.equal(cryptography(older.id).keyID, older.id);
});

test("errors have their codes", async () => {
  const missing = newName();
  for (const request of ["getKey", "getDeletedKey", "backupKey", "rotateKey", "purgeDeletedKey", "beginDeleteKey"]) {
    await assert.rejects(client[request](missing), { name: "RestError", statusCode: 404, code: "KeyNotFound" }, request);
  }
  const bad = { name: "RestError", statusCode: 400, code: "BadParameter" };
  await assert.rejects(client.createOctKey(newName(), { keySize: 64 }), { ...bad, message: /Invalid key size: '64'/ });
  await assert.rejects(client.getKey("under_score"), bad);
  await assert.rejects(client.restoreKeyBackup(Buffer.from("no backup")), { ...bad, code: "MalformedBackupBlob" });
  const ec = await client.createEcKey(newName());
  await assert.rejects(cryptography(ec).sign("PS256", Buffer.alloc(32)), bad);
  await assert.rejects(cryptography(ec).sign("ES256", Buffer.alloc(31)), bad);

  const inAnHour = new Date(Date.now() + 3_600_000);
  for (const change of [{ keyOps: ["verify"] }, { enabled: false }, { notBefore: inAnHour }]) {
    const key = await client.createEcKey(newName());
    // This client knows the key as it was, so that it leaves the refusal to the HSM.
    const knowing = cryptography(key);
    await knowing.sign("ES256", Buffer.alloc(32));
    await client.updateKeyProperties(key.name, change);
    const forbidden = { name: "RestError", statusCode: 403, code: "Forbidden" };
    await assert.rejects(knowing.sign("ES256", Buffer.alloc(32)), forbidden);
  }
});

test("who cannot log in learns why", async () => {
  for (const [clientId, code] of [
    [undefined, "AADSTS7000215"],
    [crypto.randomUUID(), "AADSTS700016"],
  ]) {
    const stranger = keyClient(credential(clientId, "wrong"));
    await assert.rejects(stranger.getKey("key"), (error) => {
      assert.ok(error instanceof AuthenticationRequiredError, error.name);
      return error.message.includes(`${code}:`);
    });
  }
  const nobody = { getToken: async () => ({ token: "bm9ib2R5.e30.AA", expiresOnTimestamp: Date.now() + 3_600_000 }) };
  await assert.rejects(keyClient(nobody).getKey("key"), { name: "RestError", statusCode: 401 });
});

test("what passes is tried again", async () => {
  const patient = keyClient(undefined, { retryOptions: { maxRetries: 2, retryDelayInMs: 1, maxRetryDelayInMs: 1 } });
  for (const kind of ["throttled-retry-after", "internal-error", "unavailable", "drop", "close"]) {
    const { name, id } = await client.createOctKey(newName());
    await fault({ kind, path: `/keys/${name}`, count: 1 });
    assert.equal((await patient.getKey(name)).id, id, kind);
  }
  // The library doesn't try again what is throttled without a Retry-After.
  const { name } = await client.createOctKey(newName());
  await fault({ kind: "throttled", path: `/keys/${name}`, count: 1 });
  await assert.rejects(patient.getKey(name), { name: "RestError", statusCode: 429, code: "Throttled" });
});

test("who has no role is denied, and a role for one key is for no other", async () => {
  const asUser = keyClient(user);
  const denied = (action) => ({ name: "RestError", statusCode: 403, code: "AccessDenied", message: new RegExp(action) });
  const mine = await client.createRsaKey(newName());
  const other = await client.createRsaKey(newName());
  const sign = (key) => cryptography(key, user).sign("RS256", Buffer.alloc(32));
  await assert.rejects(asUser.getRandomBytes(4), denied("/rng/action"));
  await assert.rejects(asUser.getKey(mine.name), denied("/keys/read/action"));
  await assert.rejects(asUser.createRsaKey(newName()), denied("/keys/create"));
  await assert.rejects(asUser.beginDeleteKey(mine.name), denied("/keys/delete"));
  await assert.rejects(asUser.backupKey(mine.name), denied("/keys/backup/action"));
  await assert.rejects(collect(asUser.listPropertiesOfKeys()), denied("Pagination failed"));
  await assert.rejects(sign(mine), denied("/keys/sign/action"));

  const cryptoUser = "21dbd100-6940-42c2-9190-5d6cb909625b";
  const takeAway = await assign(cryptoUser, `/keys/${mine.name}`);
  assert.equal((await asUser.getKey(mine.name)).id, mine.id);
  await sign(mine);
  await assert.rejects(sign(other), denied("/keys/sign/action"));
  await takeAway();
  await assert.rejects(sign(mine), denied("/keys/sign/action"));
});

test("every method was called", () => {
  // TypeScript's declarations have these as private.
  const excused = {
    KeyClient: ["disambiguateUpdateKeyPropertiesArgs"],
    CryptographyClient: [
      "disambiguateDecryptArguments",
      "disambiguateEncryptArguments",
      "ensureValid",
      "fetchKey",
      "getKeyMaterial",
      "getProvider",
      "initializeIV",
    ],
  };
  for (const { name, prototype } of [KeyClient, CryptographyClient]) {
    const members = Object.getOwnPropertyNames(prototype).filter((member) => member !== "constructor");
    for (const member of excused[name]) assert.ok(members.includes(member), `${name}.${member} needs no excuse`);
    const missing = members.filter((member) => !called.has(`${name}.${member}`) && !excused[name].includes(member));
    assert.deepEqual(missing, [], `no test calls these of ${name}`);
  }
});
