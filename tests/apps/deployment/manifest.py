"""Validates a Kubernetes manifest against the schemas of Kubernetes, and writes the files of its config map and its nginx container's
command line and user.

    manifest.py MANIFEST FOLDER [VERSION OF KUBERNETES]…
"""

import json
import pathlib
import sys

import kubernetes_validate
import yaml

manifest, folder, *versions = sys.argv[1:]
folder = pathlib.Path(folder)
resources = list(yaml.safe_load_all(pathlib.Path(manifest).read_text()))
for resource in resources:
    for version in versions:
        # Strict: a name that the schema doesn't have is an error.
        kubernetes_validate.validate(resource, version, strict=True)

kinds = {resource["kind"]: resource for resource in resources}
account, files, deployment = (kinds[kind] for kind in ("ServiceAccount", "ConfigMap", "Deployment"))
template = deployment["spec"]["template"]
pod = template["spec"]
container = next(one for one in pod["containers"] if one["name"] == "tls")
mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
volumes = {volume["name"]: volume for volume in pod["volumes"]}

# What the schemas don't say: the parts refer to each other, and the webhook of workload identity sees the pod.
assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
assert template["metadata"]["labels"]["azure.workload.identity/use"] == "true"
assert "azure.workload.identity/client-id" in account["metadata"]["annotations"]
assert pod["serviceAccountName"] == account["metadata"]["name"]
assert volumes["configuration"]["configMap"]["name"] == files["metadata"]["name"]
assert set(mounts) == set(volumes)

configuration = folder / "akv"
configuration.mkdir()
for name, text in files["data"].items():
    (configuration / name).write_text(text)
(folder / "container.json").write_text(json.dumps(container))
(folder / "arguments").write_text("".join(f"{argument}\n" for argument in container["args"]))
(folder / "environment").write_text("".join(f"{one['name']}={one['value']}\n" for one in container["env"]))
(folder / "user").write_text(str(container["securityContext"]["runAsUser"]))
(folder / "port").write_text(str(container["ports"][0]["containerPort"]))
print(f"figures: {len(resources)} resources, Kubernetes {', '.join(versions)}")
