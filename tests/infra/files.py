"""What infra/ says, read once: its texts, the compose file, the Kubernetes objects, the systemd units."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
SHELL = sorted(INFRA.glob("*.sh"))
MANIFESTS = sorted((INFRA / "kubernetes").glob("*.yaml"))
UNITS = INFRA / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
#: The drop-in that systemd reads for every unit whose name begins with "radtrain-".
COMMON = UNITS / "radtrain-.service.d" / "common.conf"
DOCKERFILE = (INFRA / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text(encoding="utf-8"))
KUBERNETES: list[dict[str, Any]] = [
    document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
#: The names of the secrets that make-secrets.sh draws.
SECRETS = set(
    re.findall(
        r"\w+", re.findall(r"^for name in (.*); do$", (INFRA / "make-secrets.sh").read_text(), re.M)[0]
    )
)


def texts() -> dict[str, str]:
    """Return every file of infra/ that is no Python and no secret, by its path."""
    paths = [path for path in sorted(INFRA.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in paths
        if not {"secrets", "__pycache__"} & set(path.parts) and path.suffix != ".py"
    }


def pods() -> dict[str, dict[str, Any]]:
    """Return the pod of each Deployment and StatefulSet by its name."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in KUBERNETES
        if each["kind"] in {"Deployment", "StatefulSet"}
    }


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all containers of a pod, those that run first too."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def settings_of(unit: Path) -> dict[str, list[str]]:
    """Return what the lines of a systemd unit set, by key."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(encoding="utf-8"), re.M):
        found.setdefault(key, []).append(value)
    return found


def environments() -> dict[str, dict[str, str]]:
    """Return the environment of every service, container and unit, by where it is written."""
    found = {
        f"compose {name}": service.get("environment", {}) for name, service in COMPOSE["services"].items()
    }
    for name, pod in pods().items():
        for each in containers(pod):
            found[f"kubernetes {name}/{each['name']}"] = {
                entry["name"]: entry["value"] for entry in each["env"]
            }
    for unit in [*SERVICES, COMMON]:
        pairs = " ".join(settings_of(unit).get("Environment", [])).split()
        found[f"systemd {unit.name}"] = dict(pair.split("=", 1) for pair in pairs)
    example = (INFRA / "env.example").read_text(encoding="utf-8")
    found["env.example"] = dict(re.findall(r"^(?:# )?([A-Z_]+)=(\S+)$", example, re.M))
    image = re.findall(r"^(?:ENV| {4}) ?([A-Z_]+)=([^\s\\]+)", DOCKERFILE, re.M)
    found["Dockerfile"] = dict(image)
    return found
