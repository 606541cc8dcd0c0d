// Clients of the emulated HSM that note which of their methods the tests call.
//
// The environment is that of `managed-hsm-emulator env --identity`. Requests to the service's own domain are sent to the
// emulator's address, so that the libraries see a host that they trust; not where HSM_AT_443 names one that leads there by itself.

import crypto from "node:crypto";
import { ClientSecretCredential } from "@azure/identity";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";

const ownName = process.env.HSM_AT_443;
export const vault = ownName ?? "https://jshsm.managedhsm.azure.net";
// Without the port if that is 443, as requests name it.
export const endpoint = new URL(process.env.AZURE_MANAGEDHSM_URL).origin;

const leadHere = {
  name: "leadHere",
  sendRequest(request, next) {
    const copy = Object.assign(Object.create(Object.getPrototypeOf(request)), request);
    copy.url = request.url.replace(vault, endpoint);
    copy.headers.set("host", new URL(vault).host);
    return next(copy);
  },
};
const additionalPolicies = ownName ? [] : [{ policy: leadHere, position: "perRetry" }];
const options = { additionalPolicies, retryOptions: { maxRetries: 0 } };

/** `Class.member` of what the tests, not the library, have called or read. */
export const called = new Set();

function recorded(client) {
  return new Proxy(client, {
    get(target, member) {
      const value = Reflect.get(target, member, target);
      const note = () => called.add(`${target.constructor.name}.${String(member)}`);
      if (typeof value !== "function") {
        note();
        return value;
      }
      return (...given) => {
        note();
        const result = value.apply(target, given);
        return result instanceof CryptographyClient ? recorded(result) : result;
      };
    },
  });
}

export function credential(clientId = process.env.AZURE_CLIENT_ID, secret = process.env.AZURE_CLIENT_SECRET) {
  return new ClientSecretCredential(process.env.AZURE_TENANT_ID, clientId, secret, {
    authorityHost: process.env.AZURE_AUTHORITY_HOST,
    disableInstanceDiscovery: true,
  });
}

export const owner = credential();
export const user = credential(process.env.TEST_USER_CLIENT_ID, process.env.TEST_USER_SECRET);

export const keyClient = (who = owner, more = {}) => recorded(new KeyClient(vault, who, { ...options, ...more }));
/** Does by itself what takes the public key only, and the rest in the HSM. `key` is one, or its id. */
export const cryptography = (key, who = owner) => recorded(new CryptographyClient(key, who, options));
/** Knows no HSM. */
export const localOnly = (jwk) => recorded(new CryptographyClient(jwk));

export const newName = () => `key-${crypto.randomUUID()}`;

export const rsaSizes = [2048, 3072, 4096];
export const octSizes = [128, 192, 256];
export const curves = ["P-256", "P-256K", "P-384", "P-521"];

/** How keys of every kind are made: the client's method, its options, and the type. */
export const kinds = [
  ...rsaSizes.map((keySize) => ["createRsaKey", { keySize, hsm: true }, "RSA-HSM"]),
  ...curves.map((curve) => ["createEcKey", { curve, hsm: true }, "EC-HSM"]),
  ...octSizes.map((keySize) => ["createOctKey", { keySize, hsm: true }, "oct-HSM"]),
];

/** Adds a fault by the emulator's control port. */
export async function fault(description) {
  const answer = await fetch(`${process.env.EMULATOR_CONTROL}/faults`, {
    method: "POST",
    body: JSON.stringify(description),
  });
  if (answer.status !== 201) throw new Error(await answer.text());
}

/** Gives the user a role; returns what takes it away. */
export async function assign(roleDefinition, scope) {
  const { token } = await owner.getToken("https://managedhsm.azure.net/.default");
  const url = new URL(
    `${scope}/providers/Microsoft.Authorization/roleAssignments/${crypto.randomUUID()}?api-version=7.4`,
    endpoint,
  );
  const properties = {
    principalId: process.env.TEST_USER_OBJECT_ID,
    roleDefinitionId: `/providers/Microsoft.Authorization/roleDefinitions/${roleDefinition}`,
  };
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch(url, { method: "PUT", headers, body: JSON.stringify({ properties }) });
  if (answer.status !== 201) throw new Error(await answer.text());
  return () => fetch(url, { method: "DELETE", headers });
}
