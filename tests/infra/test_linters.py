"""What those who know a format find wrong with it: nothing. None of them needs a network, a Docker or a cluster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest

from tests.infra.files import INFRA, KUBERNETES, SHELL, UNITS

#: Where pip puts the programs of the linters, and those that the units start.
BIN = Path(sys.executable).parent


def run(*command: str | Path, **environment: str) -> str:
    """Run a linter; return all that it says, and its exit code where that is not 0."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment or None)
    return (done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")).strip()


def test_hadolint_finds_nothing_in_the_dockerfile():
    assert run(BIN / "hadolint", "--no-color", "--failure-threshold", "style", INFRA / "Dockerfile") == ""


def test_the_compose_file_obeys_its_schema():
    command = [sys.executable, "-m", "check_jsonschema", "--quiet", "--builtin-schema", "vendor.compose-spec"]
    assert run(*command, INFRA / "compose.yaml") == ""


@pytest.mark.parametrize("thing", KUBERNETES, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_each_kubernetes_object_obeys_the_schema_of_its_kind(thing: dict[str, object]):
    kubernetes_validate.validate(thing, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_shellcheck_finds_nothing_in_the_scripts(script: Path):
    # SC2250 asks for braces around every variable: a matter of taste.
    assert run(BIN / "shellcheck", "--enable=all", "--exclude=SC2250", "--color=never", script) == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_every_line_of_the_units(tmp_path: Path):
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    units = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in units:
        # It also asks whether the programs are there: they are, but in another folder; curl need not be.
        text = (
            path.read_text()
            .replace("/opt/radtrain/.venv/bin", str(BIN))
            .replace("/usr/bin/curl", "/bin/true")
        )
        path.write_text(text)
    names = [str(path) for path in units if path.parent == tmp_path]
    # The colon: and the units that systemd itself ships. What it does not know it ignores with exit code 0, but says so.
    assert (
        run(
            "systemd-analyze",
            "verify",
            "--man=no",
            *names,
            SYSTEMD_UNIT_PATH=f"{tmp_path}:",
            PATH="/usr/bin:/bin",
        )
        == ""
    )
