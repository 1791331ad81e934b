"""Rules that no linter knows: secrets, ports, rights, versions, and names that the code must know too."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import Settings
from prefect.settings.legacy import _get_valid_setting_names

from tasks.core.settings import QUIET, read_settings
from tests.infra.files import (
    COMMON,
    COMPOSE,
    DOCKERFILE,
    INFRA,
    KUBERNETES,
    MANIFESTS,
    ROOT,
    SECRETS,
    SERVICES,
    UNITS,
    containers,
    environments,
    pods,
    settings_of,
    texts,
)

COMPOSED: dict[str, dict[str, Any]] = COMPOSE["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
each_service = pytest.mark.parametrize("service", COMPOSED.values(), ids=COMPOSED)
each_pod = pytest.mark.parametrize("pod", pods().values(), ids=pods())


class Asked(dict[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def get(self, key: str, default: Any = None) -> Any:
        self.names.append(key)
        return default


def images() -> Iterator[str]:
    """Yield every image that is named anywhere in infra/."""
    stages = set(re.findall(r" AS (\S+)$", DOCKERFILE, re.M))
    yield from (name for name in re.findall(r"^FROM (\S+)", DOCKERFILE, re.M) if name not in stages)
    yield from (service["image"] for service in COMPOSED.values())
    yield from (each["image"] for pod in pods().values() for each in containers(pod))


# Secrets


def test_no_secret_has_a_default_and_none_is_written_down():
    for where, environment in environments().items():
        for name, value in environment.items():
            assert not re.search(r"://[^/@\s]*:[^/@\s]*@", value), f"{where}: {name} holds a password"
            if re.search("PASSW|SECRET|ACCESS_KEY|TOKEN|AUTH", name):
                folder, _, secret = value.rpartition("/")
                assert name.endswith("_FILE"), f"{where}: {name} is not read from a file"
                assert (folder, secret in SECRETS) == ("/run/secrets", True), f"{where}: {name}={value}"


def test_the_secrets_of_compose_are_the_files_that_are_drawn():
    assert COMPOSE["secrets"] == {name: {"file": f"./secrets/{name}"} for name in SECRETS}


@each_service
def test_a_service_sees_exactly_the_secrets_that_it_names(service: dict[str, Any]):
    wanted = {
        value.rpartition("/")[2]
        for name, value in service.get("environment", {}).items()
        if name.endswith("_FILE")
    }
    if any("make-databases.sh" in volume for volume in service.get("volumes", [])):
        wanted |= {"prefect_db_password", "mlflow_db_password"}
    assert set(service.get("secrets", [])) == wanted


def test_pods_name_secrets_that_are_drawn_and_no_secret_is_an_object_of_ours():
    assert not [each for each in KUBERNETES if each["kind"] == "Secret"]
    for name, pod in pods().items():
        for volume in pod["volumes"]:
            if secret := volume.get("secret"):
                assert secret["secretName"] == "radtrain"
                assert {item["key"] for item in secret.get("items", [])} <= SECRETS, name


def test_git_keeps_no_secret():
    tracked = subprocess.run(
        ["git", "ls-files", "infra"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    assert "infra/secrets/" not in tracked.stdout
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", "infra/secrets/s3_secret_key"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0, "infra/secrets/ is not in .gitignore"
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "infra/.env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0, "infra/.env is not in .gitignore"


def test_both_databases_are_made_and_each_server_asks_for_its_own():
    script = INFRA / "make-databases.sh"
    # What PostgreSQL's image may not execute it reads into its own shell, and the passwords with it.
    assert os.access(script, os.X_OK)
    (mounted,) = (volume["configMap"] for volume in pods()["postgres"]["volumes"] if "configMap" in volume)
    assert mounted["defaultMode"] == 0o555
    made = re.findall(r"^for name in (.*); do$", script.read_text(encoding="utf-8"), re.M)[0].split()
    for where in ("compose", "kubernetes"):
        asked = [
            re.findall(r"^postgresql\+\w+://(\w+)@postgres:5432/(\w+)$", value)
            for name, environment in environments().items()
            if name.startswith(where)
            for value in environment.values()
            if value.startswith("postgresql")
        ]
        assert sorted(asked) == sorted([(name, name)] for name in made)


# Ports


@each_service
def test_published_ports_listen_on_this_machine_only(service: dict[str, Any]):
    assert service.get("network_mode", "none") == "none"
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port


def test_database_and_store_have_no_way_in_or_out():
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    for name in ("postgres", "store"):
        assert COMPOSED[name]["networks"] == ["stores"]
        assert "ports" not in COMPOSED[name]


def test_kubernetes_opens_nothing_to_the_outside():
    kinds = {each["kind"] for each in KUBERNETES}
    assert "NetworkPolicy" in kinds
    assert "Ingress" not in kinds
    for each in KUBERNETES:
        if each["kind"] == "Service":
            assert each["spec"].get("type", "ClusterIP") == "ClusterIP"
    for name, pod in pods().items():
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        assert not [
            port for each in pod["containers"] for port in each.get("ports", []) if "hostPort" in port
        ], name


def test_servers_under_systemd_listen_on_this_machine_only():
    for name in ("radtrain-prefect.service", "radtrain-mlflow.service"):
        (start,) = settings_of(UNITS / name)["ExecStart"]
        assert " --host 127.0.0.1 " in start, name


# Rights


@each_service
def test_a_service_runs_without_root_and_gains_no_rights(service: dict[str, Any]):
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(service)
    assert not [volume for volume in service.get("volumes", []) if "docker.sock" in volume]


@each_pod
def test_a_pod_runs_without_root_and_gains_no_rights(pod: dict[str, Any]):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for each in containers(pod):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_every_image_that_is_built_ends_as_a_user_that_is_not_root():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1:]
    bodies = {re.findall(r" AS (\S+)", stage)[0]: stage for stage in stages}
    for name in ("gpu", "cpu"):
        assert bodies[name].startswith("run AS")
        assert "USER" not in bodies[name]
    assert re.findall(r"^USER (.*)$", bodies["run"], re.M) == ["10001:10001"]
    assert stages[-1].startswith("run AS cpu"), "what is built where no target is named is not the CPU image"


def test_units_run_as_their_own_user_and_leave_no_process_behind():
    common = settings_of(COMMON)
    expected = {
        "User": "radtrain",
        "EnvironmentFile": "/etc/radtrain/env",
        "Restart": "on-failure",
        "KillMode": "control-group",
        "NoNewPrivileges": "true",
        "ProtectSystem": "strict",
        "CapabilityBoundingSet": "",
    }
    assert {key: common[key] for key in expected} == {key: [value] for key, value in expected.items()}
    for unit in SERVICES:
        assert unit.name.startswith("radtrain-"), "systemd would not read the common settings for it"
        assert not set(expected) & set(settings_of(unit)), f"{unit.name} overrides what is common"
    (wanted,) = settings_of(UNITS / "radtrain.target")["Wants"]
    assert sorted(wanted.split()) == [unit.name for unit in SERVICES]


# Health and order


@each_service
def test_a_service_has_a_health_check_or_ends_by_itself(service: dict[str, Any]):
    name = next(key for key, value in COMPOSED.items() if value is service)
    if service["healthcheck"] == {"disable": True}:
        assert service["restart"] == "no"
        waited = [
            each["depends_on"][name] for each in COMPOSED.values() if name in each.get("depends_on", {})
        ]
        assert waited, "nothing waits for it to end"
        assert all(each == {"condition": "service_completed_successfully"} for each in waited)
    else:
        assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
        assert service["restart"] == "unless-stopped"
        assert "stop_grace_period" in service
        waited = [
            each["depends_on"][name] for each in COMPOSED.values() if name in each.get("depends_on", {})
        ]
        assert all(each == {"condition": "service_healthy"} for each in waited)


def test_health_checks_ask_the_port_on_which_the_server_listens():
    for name, service in COMPOSED.items():
        asked = re.findall(r"http://127\.0\.0\.1:(\d+)/", " ".join(service["healthcheck"].get("test", [])))
        listens = re.findall(r"--port (\d+)", " ".join(service.get("command", [])))
        if listens:
            assert asked == listens, name
            assert [port.split(":")[-1] for port in service["ports"]] == listens, name


@each_pod
def test_a_container_has_probes_and_bounds(pod: dict[str, Any]):
    for each in containers(pod):
        assert "memory" in each["resources"]["limits"]
        assert {"cpu", "memory"} <= set(each["resources"]["requests"])
    for each in pod["containers"]:
        assert {"startupProbe", "livenessProbe"} <= set(each)


@each_pod
def test_what_a_container_mounts_is_there(pod: dict[str, Any]):
    claims = {each["metadata"]["name"] for each in KUBERNETES if each["kind"] == "PersistentVolumeClaim"}
    volumes = {volume["name"] for volume in pod["volumes"]}
    for each in KUBERNETES:
        if each["kind"] == "StatefulSet" and each["spec"]["template"]["spec"] is pod:
            volumes |= {claim["metadata"]["name"] for claim in each["spec"]["volumeClaimTemplates"]}
    for volume in pod["volumes"]:
        assert volume.get("persistentVolumeClaim", {"claimName": "home"})["claimName"] in claims
    assert {mount["name"] for each in containers(pod) for mount in each["volumeMounts"]} == volumes


def test_services_of_kubernetes_find_their_pods_and_addresses_their_services():
    apps = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"]
        for each in KUBERNETES
        if each["kind"] in {"Deployment", "StatefulSet"}
    }
    services = {each["metadata"]["name"]: each["spec"] for each in KUBERNETES if each["kind"] == "Service"}
    for name, spec in services.items():
        assert spec["selector"] == apps[name]
        ports = [port["containerPort"] for each in pods()[name]["containers"] for port in each["ports"]]
        assert [port["port"] for port in spec["ports"]] == ports
    for where, environment in environments().items():
        known = services if where.startswith("kubernetes") else {**COMPOSED, "localhost": {}}
        for value in environment.values():
            for host in re.findall(r"^[a-z0-9+]+://(?:\w+@)?([a-z]\w*):\d+", value):
                assert host in known, f"{where}: nothing is called {host}"


def test_kustomize_takes_every_manifest():
    kustomization = yaml.safe_load((INFRA / "kustomization.yaml").read_text(encoding="utf-8"))
    assert sorted(kustomization["resources"]) == [f"kubernetes/{path.name}" for path in MANIFESTS]
    for generated in kustomization["configMapGenerator"]:
        for file in generated["files"]:
            assert (INFRA / file).is_file()
    assert {each.get("metadata", {}).get("namespace", "radtrain") for each in KUBERNETES} == {"radtrain"}


# Versions and addresses


def test_every_image_is_pinned_by_its_version_and_comes_by_its_plain_name():
    for image in images():
        assert re.fullmatch(r"[a-z]+(/[a-z]+)?:v?\d+\.\d+(\.\d+)?(-[a-z]+)*", image), image


def test_an_image_has_one_version_everywhere_and_ours_is_that_of_the_project():
    versions: dict[str, set[str]] = {}
    for image in images():
        name, _, version = image.partition(":")
        versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    assert versions["radtrain"] == {PROJECT["version"]}


def test_the_image_has_a_python_that_the_project_supports():
    (version,) = {image.split(":")[1] for image in images() if image.startswith("python:")}
    minor = ".".join(version.split(".")[:2])
    assert f"Programming Language :: Python :: {minor}" in PROJECT["classifiers"]


def test_no_file_names_a_host_that_is_not_ours():
    ours = {"127.0.0.1", "localhost", *COMPOSED}
    for where, text in texts().items():
        for host in re.findall(r"[a-z0-9+]+://(?:[\w.-]+@)?([\w.-]+)", text):
            assert host in ours or host.isupper(), f"{where} names {host}"
        assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host|PIP_|UV_", text), where


def test_what_pip_installs_from_the_lock_is_checked_by_its_hash():
    for line in re.findall(r"pip install .*--requirement.*", DOCKERFILE):
        assert "--require-hashes" in line
        assert "--no-deps" in line
    assert (
        "COPY requirements.lock ./\nRUN pip install --no-cache-dir --no-deps --require-hashes" in DOCKERFILE
    )


def test_the_lock_has_the_drivers_that_the_addresses_name():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    drivers = {
        driver
        for environment in environments().values()
        for value in environment.values()
        for driver in re.findall(r"^postgresql\+(\w+)://", value)
    }
    assert drivers == {"asyncpg", "psycopg"}
    assert 'Requirement("radtrain[s3]")' in DOCKERFILE
    for package in (*drivers, "psycopg-binary", *PROJECT["optional-dependencies"]["s3"]):
        name = re.match(r"[\w-]+", package)
        assert name
        assert re.search(rf"^{name[0]}==", lock, re.M), f"{name[0]} is not in requirements.lock"


def test_the_builder_gets_what_the_dockerfile_copies_and_nothing_else():
    copied = {
        path
        for line in re.findall(r"^COPY (?!--from|<<)(.*)$", DOCKERFILE, re.M)
        for path in re.sub(r"--\S+ ", "", line).split()[:-1]
    }
    ignored = (INFRA / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {line[1:] for line in rules if line.startswith("!")} == copied
    for path in copied:
        assert list(ROOT.glob(path)), path


# Names that the code must know


def test_every_variable_of_ours_is_known_to_the_settings():
    asked = Asked()
    read_settings(asked)
    for where, text in texts().items():
        for name in re.findall(r"RADTRAIN_[A-Z_]+", text):
            assert name in asked.names, f"{where}: {name}"


def test_every_variable_of_prefect_is_one_of_its_settings():
    known = {name.upper() for name in _get_valid_setting_names(Settings)}
    for where, text in texts().items():
        for name in re.findall(r"\bPREFECT_[A-Z_]+[A-Z]\b", text):
            assert name in {*known, "PREFECT_PORT"}, f"{where}: {name}"


def test_every_variable_of_mlflow_is_in_its_code():
    spec = importlib.util.find_spec("mlflow")
    assert spec
    assert spec.origin
    package = Path(spec.origin).parent
    files = ("environment_variables.py", "utils/cli_args.py", "cli/__init__.py")
    code = "".join((package / file).read_text(encoding="utf-8") for file in files)
    for where, text in texts().items():
        for name in re.findall(r"\bMLFLOW_[A-Z0-9_]+[A-Z]\b", text):
            assert f'"{name}"' in code or name == "MLFLOW_PORT", f"{where}: {name}"


def test_every_module_that_is_started_exists():
    started: set[str] = set()
    for text in texts().values():
        started |= set(re.findall(r"python[\"',\s]+-m[\"',\s]+([\w.]+)", text))
    assert "deployments.register" in started
    for module in started:
        assert importlib.util.find_spec(module) is not None, f"python -m {module}: there is no such module"


def test_nothing_phones_home():
    quiet = {name: value for name, value in QUIET.items() if re.search("TRACK|TELEMETRY|ANALYTICS", name)}
    for where in ("Dockerfile", "systemd common.conf"):
        environment = environments()[where]
        assert {name: environment.get(name) for name in quiet} == quiet, where


def test_the_three_ways_start_the_same_commands():
    composed = {
        " ".join(each["command"]) for each in COMPOSED.values() if each["image"].startswith("radtrain:")
    }
    kubernetes = {
        " ".join(each["args"])
        for pod in pods().values()
        for each in containers(pod)
        if each["image"].startswith("radtrain:")
    }
    systemd = {
        settings_of(unit)["ExecStart"][0].removeprefix("/opt/radtrain/.venv/bin/") for unit in SERVICES
    }

    def plain(commands: set[str]) -> set[str]:
        """Leave out what differs between them: the address and the worker's name and health check."""
        return {re.sub(r" --(host|name) \S+| --with-healthcheck", "", command) for command in commands}

    assert plain(composed) - {"mkdir -p /var/lib/radtrain/mlflow"} == plain(kubernetes) == plain(systemd)
