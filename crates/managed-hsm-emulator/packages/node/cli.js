#!/usr/bin/env node
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { program } from "./index.js";

const child = spawn(program(), process.argv.slice(2), { stdio: "inherit" });
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
// A terminal sends this to both.
process.on("SIGINT", () => {});
child.once("error", (error) => {
  console.error(`managed-hsm-emulator: ${error.message}`);
  process.exit(1);
});
child.once("close", (status, signal) => process.exit(status ?? 128 + constants.signals[signal]));
