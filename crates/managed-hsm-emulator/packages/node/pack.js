// Puts the program that cargo has built into the package.

import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";

const metadata = JSON.parse(execFileSync("cargo", ["metadata", "--format-version", "1", "--no-deps"]));
mkdirSync("bin", { recursive: true });
copyFileSync(join(metadata.target_directory, process.env.PROFILE ?? "release", "managed-hsm-emulator"), "bin/managed-hsm-emulator");
chmodSync("bin/managed-hsm-emulator", 0o755);
