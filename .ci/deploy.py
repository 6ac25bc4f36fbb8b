"""Rules for the files in deploy/ that schemas do not know. Arguments: rendered Kubernetes manifests."""

import json
import pathlib
import re
import subprocess
import sys

import compose_spec
import yaml

ROOT = pathlib.Path(__file__).parent.parent
PROGRAM = ROOT / "target/debug/secateur"
# Secrets that a person creates; deploy/kubernetes/README.md says how.
SECRETS = {"secateur-tls", "secateur-tokens", "secateur-worker", "secateur-stores"}
# A worker needs this long after --grace to hand back its work and exit.
HAND_BACK = 10

problems = []


def check(holds, where, text):
    if not holds:
        problems.append(f"{where}: {text}")


def options(words):
    return {word.split("=")[0] for word in words if word.startswith("--")}


def pods(documents):
    """Every pod template, with the name of what makes it."""
    for document in documents:
        if document["kind"] in ("StatefulSet", "Deployment"):
            yield document, document["spec"]["template"]


def check_manifests(path, used):
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    secrets = set()
    for owner, template in pods(documents):
        where = f"{path.name}: {owner['kind']}/{owner['metadata']['name']}"
        spec, labels = template["spec"], template["metadata"]["labels"]
        check(owner["spec"]["selector"]["matchLabels"].items() <= labels.items(), where, "the selector does not match its pods")
        check(spec.get("automountServiceAccountToken") is False, where, "mounts a token of Kubernetes")
        check(spec.get("enableServiceLinks") is False, where, "variables of services may collide with SECATEUR_…")
        check(spec["securityContext"].get("runAsNonRoot") is True, where, "may run as root")
        check(spec["securityContext"].get("seccompProfile") == {"type": "RuntimeDefault"}, where, "has no seccomp profile")
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        claims = {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
        secrets |= {volume["secret"]["secretName"] for volume in volumes.values() if "secret" in volume}
        mounted = set()
        for container in spec["containers"] + (spec.get("initContainers") or []):
            at = f"{where}: {container['name']}"
            context = container["securityContext"]
            check(context.get("readOnlyRootFilesystem") is True, at, "its root file system is writable")
            check(context.get("allowPrivilegeEscalation") is False, at, "may gain privileges")
            check(context.get("capabilities") == {"drop": ["ALL"]}, at, "has capabilities")
            check("memory" in container["resources"]["limits"], at, "has no limit of memory")
            image = container["image"]
            check(re.fullmatch(r".+:\d+\.\d+\.\d+(-\w+)?", image), at, f"the image {image} has no version")
            secrets |= {source["secretRef"]["name"] for source in container.get("envFrom", [])}
            mounts = {mount["name"]: mount for mount in container.get("volumeMounts", [])}
            mounted |= set(mounts)
            check(set(mounts) <= set(volumes) | claims, at, "mounts a volume that the pod lacks")
            words = container["command"] + container.get("args", [])
            paths = {word.split("=")[1] for word in words if re.match(r"--(data|cache)-dir=", word)}
            writable = {mount["mountPath"] for mount in mounts.values() if not mount.get("readOnly")}
            check(paths <= writable, at, f"{paths} is not on a writable volume")
            ready = {mount["mountPath"] for mount in mounts.values()}
            files = {word.split("=")[1] for word in words if re.match(r"--tls-\w+=", word)}
            files |= {one["value"] for one in container.get("env", []) if one["name"] in ("SECATEUR_CA", "SECATEUR_TOKEN_FILE")}
            check(all(str(pathlib.PurePosixPath(file).parent) in ready for file in files), at, f"{files}: not all on a volume")
            if "worker" in container["name"]:
                grace = next((int(word.split("=")[1]) for word in words if word.startswith("--grace=")), 30)
                check(spec["terminationGracePeriodSeconds"] >= grace + HAND_BACK, at, "is killed before its --grace is over")
                used["worker"] |= options(words)
            elif "serve" in words:
                used["serve"] |= options(words)
        check(set(volumes) <= mounted, where, "has a volume that nothing mounts")
    check(secrets <= SECRETS, path.name, f"unknown secrets {secrets - SECRETS}")
    # A policy, a budget or a service that selects no pod does nothing.
    for document in documents:
        spec = document.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector", {}))
        if document["kind"] in ("NetworkPolicy", "PodDisruptionBudget", "Service"):
            labels = selector.get("matchLabels", {} if "podSelector" in spec else selector)
            chosen = [template for _, template in pods(documents) if labels.items() <= template["metadata"]["labels"].items()]
            check(chosen, path.name, f"{document['kind']}/{document['metadata']['name']} selects no pod")


def check_compose(path, used):
    # By PyYAML first, because the other parser does not know merge keys (<<).
    compose = yaml.safe_load(path.read_text())
    try:
        compose_spec.PyCompose.from_json(json.dumps(compose)).validate()
    except ValueError as error:
        check(False, path.name, error)
    for name, service in compose["services"].items():
        words = service.get("command", [])
        if "serve" in words or "worker" in words:
            verb = "serve" if "serve" in words else "worker"
            used[verb] |= options(words)
            check(service.get("read_only") is True, f"{path.name}: {name}", "its root file system is writable")
        named = {volume.split(":")[0] for volume in service.get("volumes", []) if ":" in volume}
        check(named <= set(compose["volumes"]), f"{path.name}: {name}", "uses an unknown volume")
        check(set(service.get("depends_on", [])) <= set(compose["services"]), f"{path.name}: {name}", "depends on an unknown service")


def check_options(used):
    for unit in ROOT.glob("deploy/secateur-*.service"):
        line = next(line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
        used["serve" if "serve" in unit.name else "worker"] |= options(line.split())
    for dockerfile in ROOT.glob("deploy/docker/*.Dockerfile"):
        for line in dockerfile.read_text().splitlines():
            if line.startswith(("ENTRYPOINT", "CMD")):
                used["serve" if "secateur." in dockerfile.name else "worker"] |= options(re.findall(r'"([^"]*)"', line))
    batch = ROOT.joinpath("deploy/slurm/worker.sbatch").read_text()
    start = batch.index('"${program[@]}" --')
    used["worker"] |= options(batch[start : batch.index("&\n", start)].split())
    if not PROGRAM.exists():
        print(f"{PROGRAM} does not exist, so options are not compared with it")
        return
    for verb, found in used.items():
        text = subprocess.run([PROGRAM, verb, "--help"], check=True, capture_output=True, text=True).stdout
        known = set(re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))
        check(found <= known, verb, f"no such options: {sorted(found - known)}")


used = {"serve": set(), "worker": set()}
for argument in sys.argv[1:]:
    check_manifests(pathlib.Path(argument), used)
check_compose(ROOT / "deploy/compose.yaml", used)
check_options(used)
if problems:
    sys.exit("\n".join(problems))
