// A local Azure Managed HSM and Key Vault for tests. It is not an HSM: keys lie in a temporary folder.

import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The program: the one in this package, else the first in PATH. */
export function program() {
  const own = fileURLToPath(new URL("./bin/managed-hsm-emulator", import.meta.url));
  return existsSync(own) ? own : "managed-hsm-emulator";
}

/** Starts an emulator with options of `managed-hsm-emulator serve`; see index.d.ts. */
export async function start(options = [], { waitSeconds = 30 } = {}) {
  const temporary = options.includes("--data-dir") ? undefined : await mkdtemp(join(tmpdir(), "managed-hsm-emulator-"));
  // The emulator makes the folder, for its owner alone.
  const dataDir = temporary ? join(temporary, "data") : options[options.indexOf("--data-dir") + 1];
  const all = temporary ? [...options, "--data-dir", dataDir] : options;
  const child = spawn(program(), ["serve", ...all], { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (log += text));
  }
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", () => resolve("it has ended"));
  });
  const end = () => child.kill("SIGTERM");
  process.once("exit", end);
  const stop = async () => {
    process.off("exit", end);
    end();
    await ended;
    if (temporary) await rm(temporary, { recursive: true, force: true });
  };
  const ask = async (...given) => (await run(program(), [...given, "--data-dir", dataDir])).stdout;

  // There is nothing to wait for once the emulator itself has ended.
  const waited = new AbortController();
  const asked = run(
    program(),
    ["env", "--identity", "--format", "json", "--wait", String(waitSeconds), "--data-dir", dataDir],
    { signal: waited.signal },
  ).catch((error) => ({ problem: error.stderr || error.message }));
  const first = await Promise.race([asked, ended]);
  waited.abort();
  if (first.stdout === undefined) {
    await stop();
    throw new Error(`the emulator did not start: ${log.trim() || first.problem || first}`);
  }
  const environment = JSON.parse(first.stdout);
  return {
    url: environment.AZURE_MANAGEDHSM_URL,
    vaultUrl: environment.AZURE_KEYVAULT_URL,
    caFile: environment.AKV_CA_FILE,
    tlsOptions: { ca: await readFile(environment.AKV_CA_FILE, "utf8") },
    environment,
    log: () => log,
    token: async ({ audience = "https://managedhsm.azure.net", expiresIn = 86400, principal } = {}) => {
      const of = principal ? ["--principal", principal] : [];
      return (await ask("token", "--audience", audience, `--expires-in=${expiresIn}`, ...of)).trim();
    },
    stop,
  };
}
