// The `openssl` program as a second opinion on what the HSM made, and keys that the HSM did not make.

import { spawnSync } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const base64url = (bytes) => Buffer.from(bytes).toString("base64url");

/** The library's JSON Web Key as Node.js has it. */
function publicKey(key) {
  const jwk = key.crv
    ? { kty: "EC", crv: key.crv.replace("P-256K", "secp256k1"), x: base64url(key.x), y: base64url(key.y) }
    : { kty: "RSA", n: base64url(key.n), e: base64url(key.e) };
  return crypto.createPublicKey({ key: jwk, format: "jwk" });
}

/** Runs the program in a folder of its own with these files in it. */
function openssl(files, ...words) {
  const cwd = fs.mkdtempSync(path.join(os.tmpdir(), "judge-"));
  try {
    for (const [name, contents] of Object.entries(files)) fs.writeFileSync(path.join(cwd, name), contents);
    const done = spawnSync("openssl", words, { cwd });
    if (done.error) throw done.error;
    return done;
  } finally {
    fs.rmSync(cwd, { recursive: true });
  }
}

/** An INTEGER of ASN.1 that isn't negative, no longer than 127 bytes. */
function integer(bytes) {
  const significant = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
  const value = significant[0] & 0x80 ? Buffer.concat([Buffer.of(0), significant]) : significant;
  return Buffer.concat([Buffer.of(0x02, value.length), value]);
}

/** r‖s as ASN.1. */
function der(signature) {
  const half = signature.length / 2;
  const body = Buffer.concat([integer(signature.subarray(0, half)), integer(signature.subarray(half))]);
  return Buffer.concat([body.length < 128 ? Buffer.of(0x30, body.length) : Buffer.of(0x30, 0x81, body.length), body]);
}

/** Whether the program takes this for the digest's signature; algorithm and signature are as the service has them. */
export function verifies(key, algorithm, digest, signature) {
  const pem = publicKey(key).export({ type: "spki", format: "pem" });
  const pss = "-pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest".split(" ");
  const done = openssl(
    { "key.pem": pem, digest, signature: algorithm.startsWith("ES") ? der(Buffer.from(signature)) : signature },
    ..."pkeyutl -verify -pubin -inkey key.pem -in digest -sigfile signature -pkeyopt".split(" "),
    `digest:sha${digest.length * 8}`,
    ...(algorithm.startsWith("PS") ? pss : []),
  );
  return done.status === 0 && done.stdout.includes("Signature Verified Successfully");
}

const paddings = {
  RSA1_5: { padding: crypto.constants.RSA_PKCS1_PADDING },
  "RSA-OAEP": { oaepHash: "sha1" },
  "RSA-OAEP-256": { oaepHash: "sha256" },
};

export function encrypted(key, algorithm, plain) {
  return crypto.publicEncrypt({ key: publicKey(key), ...paddings[algorithm] }, plain);
}

/** A private key as the library's JSON Web Key. */
function exported({ privateKey }, names) {
  const jwk = privateKey.export({ format: "jwk" });
  const numbers = names.map((name) => [name, Buffer.from(jwk[name], "base64url")]);
  return { kty: jwk.kty, keyOps: ["sign", "verify"], ...Object.fromEntries(numbers) };
}

export function newRsa(modulusLength) {
  const pair = crypto.generateKeyPairSync("rsa", { modulusLength });
  return exported(pair, ["n", "e", "d", "p", "q", "dp", "dq", "qi"]);
}

export function newEc(crv) {
  const pair = crypto.generateKeyPairSync("ec", { namedCurve: crv.replace("P-256K", "secp256k1") });
  return { ...exported(pair, ["x", "y", "d"]), crv };
}

/** What RFC 3394 or, for CKM_AES_KEY_WRAP_PAD, RFC 5649 wrapped. */
export function aesUnwrapped(key, algorithm, wrapped) {
  const padded = algorithm === "CKM_AES_KEY_WRAP_PAD";
  const name = `id-aes${key.length * 8}-wrap${padded ? "-pad" : ""}`;
  const decipher = crypto.createDecipheriv(name, key, Buffer.from(padded ? "a65959a6" : "a6".repeat(8), "hex"));
  return Buffer.concat([decipher.update(wrapped), decipher.final()]);
}
