#!/usr/bin/env bash
# Writes the software bill of materials of both modules, the command and the emulator as CycloneDX 1.5 (JSON), and checks it: against
# the schema, that nothing is in it that was not built, and that each component has its licence and its hash.
#
#   scripts/sbom.sh [FOLDER]      FOLDER: where the files go (default target/sbom)
#
# Needs cargo-cyclonedx (cargo install --locked cargo-cyclonedx). The schema is that of the Python package
# cyclonedx-python-lib[json-validation]; without it that check is skipped, and said to be.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-${CARGO_TARGET_DIR:-$PWD/target}/sbom}
cargo cyclonedx --help >/dev/null 2>&1 ||
    { echo "cargo-cyclonedx is not installed: cargo install --locked cargo-cyclonedx" >&2; exit 1; }
mkdir -p "$folder"

# The same commit gives the same file.
SOURCE_DATE_EPOCH=$(git show --no-patch --format=%ct HEAD)
export SOURCE_DATE_EPOCH
# One file beside each manifest is how the tool works; each is moved to where it belongs.
cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --override-filename sbom-cyclonedx
failed=0
for package in akv_provider:. akv:crates/akv akv-pkcs11:crates/akv-pkcs11 testing:crates/testing hsm-keys:crates/hsm-keys hsm-module:crates/hsm-module \
    managed-hsm:crates/managed-hsm managed-hsm-emulator:crates/managed-hsm-emulator; do
    name=${package%%:*}
    mv "${package#*:}/sbom-cyclonedx.json" "$folder/$name.cdx.json"
    case $name in hsm-keys | hsm-module | managed-hsm | testing) rm "$folder/$name.cdx.json"; continue ;; esac
    # Not where it was built.
    sed -i "s|path+file://$PWD|path+file:///source|g" "$folder/$name.cdx.json"
    python3 - "$folder/$name.cdx.json" "$name" <(cargo tree --locked --package "$name" --edges normal --prefix none \
        --format '{p}' | awk '{ sub(/^v/, "", $2); print $1, $2 }' | sort -u) <<'PYTHON' || failed=1
import json, sys

path, name, tree = sys.argv[1:]
text = open(path).read()
bom = json.loads(text)
problems = []
if (bom["bomFormat"], bom["specVersion"]) != ("CycloneDX", "1.5"):
    problems.append(f"it is {bom['bomFormat']} {bom['specVersion']}")
if bom["metadata"]["component"]["name"] != name:
    problems.append(f"it is about {bom['metadata']['component']['name']}")
listed = {(c["name"], c["version"]) for c in bom["components"]}
built = {tuple(line.split()[:2]) for line in open(tree)} - {(name, bom["metadata"]["component"]["version"])}
problems += [f"{n} {v} is built and not listed" for n, v in sorted(built - listed)]
for c in bom["components"]:
    own = not any(h["alg"] == "SHA-256" for h in c.get("hashes", []))
    if own and "path+file" not in c["bom-ref"]:
        problems.append(f"{c['name']} has no hash")
    if not c.get("licenses"):
        problems.append(f"{c['name']} has no licence")
checked = "the schema"
try:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if error:
        problems.append(f"the schema: {error}")
except ImportError:
    checked = "SKIPPED the schema: cyclonedx-python-lib[json-validation] is not installed"
for problem in problems[:20]:
    print(f"sbom {name}: FAILED: {problem}", file=sys.stderr)
if not problems:
    print(f"sbom {name}: ok ({len(listed)} components; {checked})")
sys.exit(bool(problems))
PYTHON
done
exit "$failed"
