#!/usr/bin/env node
import { spawnSync } from "node:child_process";
import { constants } from "node:os";
import { program } from "./index.js";

const { error, signal, status } = spawnSync(program(), process.argv.slice(2), { stdio: "inherit" });
if (error) console.error(`managed-hsm-emulator: ${error.message}`);
process.exit(status ?? (signal ? 128 + constants.signals[signal] : 1));
