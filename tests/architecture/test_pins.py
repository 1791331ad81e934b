"""The pins that matter, each with what happens without it: when a test fails here, the pin can perhaps go."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = {r.name: r for r in map(Requirement, PROJECT["dependencies"])}


@pytest.mark.parametrize(
    ("name", "breaks_at", "what_breaks"),
    [
        ("fastapi", "0.151", "every Prefect server: Body() got an unexpected keyword argument 'min_items'"),
        ("sqlalchemy", "2.1", "the Prefect scheduler silently creates no scheduled run"),
        ("prefect", "3.9", "cannot be resolved beside mlflow 3.17"),
        ("mlflow", "3.18", "cannot be resolved beside prefect 3.8"),
    ],
)
def test_a_version_that_breaks_the_stack_is_neither_allowed_nor_installed(name, breaks_at, what_breaks):
    assert Version(breaks_at) not in REQUIREMENTS[name].specifier, what_breaks
    assert Version(version(name)) < Version(breaks_at), what_breaks


def test_every_dependency_stands_below_its_reason():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    for requirement in PROJECT["dependencies"]:
        place = next(n for n, line in enumerate(lines) if line.strip().startswith(f'"{requirement}"'))
        above = lines[place - 1].strip()
        assert above.startswith("#") or "tensorflow" in above, requirement


def test_the_supported_pythons_are_those_that_make_accepts():
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= v <= (3, 13)" in (ROOT / "Makefile").read_text()
