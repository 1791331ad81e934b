"""Rules about what needs what: order, names by which servers are asked, what is read-only, what is kept within bounds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.files import (
    COMPOSE,
    DOCKERFILE,
    INFRA,
    KUBERNETES,
    SERVICES,
    UNITS,
    containers,
    environments,
    pods,
    settings_of,
)

COMPOSED: dict[str, dict[str, Any]] = COMPOSE["services"]
#: What `systemd-analyze security` of systemd 252 gives a unit, 0 to 10: a line of protection that is lost makes it more.
EXPOSURE = {"radtrain-prefect": 1.8, "radtrain-mlflow": 1.8, "radtrain-register": 2.0, "radtrain-worker": 2.0}


def waits_for(name: str) -> set[str]:
    """Return every service of compose that is up before another one starts."""
    below = set(COMPOSED[name].get("depends_on", {}))
    return below.union(*(waits_for(each) for each in below))


def of_servers(variable: str) -> dict[str, str]:
    """Return what a variable is in compose, in Kubernetes and under systemd, by where it is written."""
    return {where: said[variable] for where, said in environments().items() if variable in said}


# Order


@pytest.mark.parametrize("name", COMPOSED)
def test_a_service_waits_for_every_server_that_its_addresses_name(name: str):
    said = " ".join(COMPOSED[name].get("environment", {}).values())
    named = set(re.findall(r"://(?:\w+@)?([a-z]+):", said)) - {"localhost"}
    assert named <= waits_for(name)


def test_units_start_after_what_they_require():
    for unit in SERVICES:
        said = settings_of(unit)
        required = " ".join([*said.get("Requires", []), *said.get("Wants", [])]).split()
        assert set(required) <= set(" ".join(said.get("After", [])).split()), unit.name
    assert settings_of(UNITS / "radtrain-worker.service")["Requires"] == ["radtrain-register.service"]


# Names by which servers are asked


def test_mlflow_may_be_asked_by_every_name_under_which_it_is_known():
    asked = {where: uri.removeprefix("http://") for where, uri in of_servers("MLFLOW_TRACKING_URI").items()}
    allowed = {
        where: set(said.split(",")) for where, said in of_servers("MLFLOW_SERVER_ALLOWED_HOSTS").items()
    }
    assert len(allowed) == 3
    for where, hosts in allowed.items():
        assert {"127.0.0.1:5000", "localhost:5000"} <= hosts, where
        assert not any("*" in host for host in hosts), where
        kind = where.split()[0]
        for asking, host in asked.items():
            if asking.split()[0] == kind:
                assert host in hosts, f"{asking} asks {host}, which {where} refuses"


def test_no_page_of_another_site_may_ask_prefect():
    origins = of_servers("PREFECT_SERVER_CORS_ALLOWED_ORIGINS")
    assert len(origins) == 3
    assert set(origins.values()) == {"http://127.0.0.1:4200,http://localhost:4200"}


def test_mlflow_starts_no_jobs_that_nobody_uses():
    assert list(of_servers("MLFLOW_SERVER_ENABLE_JOB_EXECUTION").values()) == ["false"] * 3


def test_kubernetes_sets_no_variables_that_servers_take_for_settings():
    """A service named mlflow would set MLFLOW_PORT to an address, and MLflow reads it as its port."""
    for name in {"prefect", "mlflow", "worker"}:
        assert pods()[name]["enableServiceLinks"] is False, name


def test_only_pods_of_the_namespace_reach_the_servers():
    [policy] = [each["spec"] for each in KUBERNETES if each["kind"] == "NetworkPolicy"]
    assert policy == {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {}}]}],
    }


def test_a_pod_behind_a_service_gets_no_request_before_it_is_ready():
    served = {each["metadata"]["name"] for each in KUBERNETES if each["kind"] == "Service"}
    for name in served:
        assert all("readinessProbe" in each for each in pods()[name]["containers"]), name


# What is read-only, and what is kept within bounds


def test_nothing_can_write_to_the_images_or_the_catalog():
    mounted = [volume for service in COMPOSED.values() for volume in service.get("volumes", [])]
    borrowed = [volume for volume in mounted if not re.match(r"(postgres|objects|home):", volume)]
    assert any(":/data" in volume for volume in borrowed)
    assert all(volume.endswith(":ro") for volume in borrowed), borrowed
    for each in containers(pods()["worker"]):
        [images] = [mount for mount in each["volumeMounts"] if mount["mountPath"] == "/data"]
        assert images["readOnly"] is True


def test_every_volume_of_compose_is_declared_and_used():
    mounted = [volume for service in COMPOSED.values() for volume in service.get("volumes", [])]
    named = {volume.split(":")[0] for volume in mounted if re.match(r"[a-z]+:", volume)}
    assert named == set(COMPOSE["volumes"])


def test_no_log_grows_without_end():
    for name, service in COMPOSED.items():
        assert service["logging"] == {"driver": "local"}, name


def test_all_that_is_installed_is_compiled():
    """The file system is read-only: what is not compiled in the image is compiled anew at every start."""
    installing = re.findall(r"pip install .*", DOCKERFILE)
    assert len(installing) >= 3
    for line in installing:
        # By itself pip compiles what it installs; --compile holds where the environment says otherwise.
        assert "--compile" in line or "and-cuda" in line, line


def test_a_new_volume_gets_nothing_of_a_users_home():
    """Docker fills a new volume from the image, and the store takes what lies in its volume for buckets."""
    assert "--no-create-home" in DOCKERFILE
    assert "--create-home" not in DOCKERFILE.replace("--no-create-home", "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", EXPOSURE)
def test_a_unit_is_protected_as_well_as_it_was(name: str, tmp_path: Path):
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", tmp_path / f"{name}.service"],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    [found] = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(found) <= EXPOSURE[name], done.stdout


# Scripts


def test_the_command_takes_the_place_of_the_entry_and_so_gets_its_signals():
    with subprocess.Popen(
        ["sh", INFRA / "entry.sh", "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout
        assert int(started.stdout.read()) == started.pid


def test_databases_are_made_without_a_password_on_a_command_line_and_a_failure_stops_it(tmp_path: Path):
    """With a psql that writes down what it is given. The real one was tried by hand: see infra/README.md."""
    for name in ("prefect", "mlflow"):
        (tmp_path / f"{name}_db_password").write_text(f"secret of {name}")
    script = (INFRA / "make-databases.sh").read_text().replace("/run/secrets", str(tmp_path))
    psql = tmp_path / "psql"
    told = f'#!/bin/sh\necho "$PASSWORD" >> {tmp_path}/passwords\necho "$@" >> {tmp_path}/words\ncat >> {tmp_path}/sql\n'

    def make() -> int:
        psql.chmod(0o755)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.run(["sh", "-c", script], env=environment, check=False).returncode

    psql.write_text(told)
    assert make() == 0
    assert (tmp_path / "passwords").read_text() == "secret of prefect\nsecret of mlflow\n"
    words = (tmp_path / "words").read_text()
    assert words.count("ON_ERROR_STOP=1") == 2
    assert "secret" not in words
    sql = (tmp_path / "sql").read_text()
    assert sql.index("log_min_error_statement") < sql.index("CREATE ROLE")
    psql.write_text(told + "exit 3\n")
    assert make() == 3
    assert len((tmp_path / "passwords").read_text().splitlines()) == 3
