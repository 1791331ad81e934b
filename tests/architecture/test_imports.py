"""Imports cost seconds and say who knows whom: both are rules here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = [
    path
    for folder in ("flows", "tasks", "data_checks", "deployments")
    for path in (ROOT / folder).rglob("*.py")
]


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after a statement."""
    listing = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{listing}"], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_importing_a_flow_loads_neither_tensorflow_nor_great_expectations_nor_mlflow():
    loaded = modules_after("import flows.train_all")
    assert "prefect" in loaded
    assert not loaded & {"tensorflow", "keras", "great_expectations", "mlflow", "matplotlib", "sklearn"}


def test_the_worker_process_loads_neither_prefect_nor_pandas_before_it_is_asked():
    assert not modules_after("import tasks.worker") & {
        "prefect",
        "pandas",
        "mlflow",
        "tensorflow",
        "matplotlib",
    }


def test_the_command_line_answers_before_anything_heavy_is_loaded():
    heavy = {"prefect", "mlflow", "tensorflow", "pandas", "numpy", "pyarrow", "rich", "pydantic"}
    assert not modules_after("import flows.cli") & heavy


@pytest.mark.parametrize("package", ["tasks.core", "data_checks"])
def test_knowledge_knows_no_engine(package):
    folder = ROOT / package.replace(".", "/")
    modules = [path.relative_to(ROOT).with_suffix("") for path in folder.rglob("*.py")]
    names = [".".join(module.parts) for module in modules if module.name != "__init__"]
    loaded = modules_after("; ".join(f"import {name}" for name in names))
    assert not loaded & {"prefect", "mlflow", "tensorflow", "keras"}


def test_mlflow_is_imported_for_its_records_what_it_raises_and_its_model_format():
    importing = [path for path in CODE if re.search(r"^\s*(import|from) mlflow", path.read_text(), re.M)]
    # The worker only loads it ahead of time, so that saving a model does not wait for it.
    assert sorted(path.name for path in importing) == [
        "mlflow_errors.py",
        "model_folder.py",
        "tracking.py",
        "worker.py",
    ]


def test_one_file_imports_great_expectations_and_nothing_imports_it_at_its_top():
    named = re.compile(r"^\s*(import|from) great_expectations", re.M)
    assert [path.name for path in CODE if named.search(path.read_text())] == ["expectations.py"]
    loaded = modules_after("import flows.validate_data, tasks.judge_data, tasks.publish_check")
    assert not loaded & {"great_expectations", "sklearn", "pydicom", "gdcm", "tomlkit"}


def test_environment_variables_of_radtrain_are_read_in_one_file():
    reading = [path.name for path in CODE if re.search(r"(get|environ\[)\(?\"RADTRAIN_", path.read_text())]
    assert set(reading) <= {"settings.py"}


def test_the_project_names_no_registry_and_no_place_of_a_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    suspicious = re.compile(r"files\.pythonhosted|pypi\.org|registry\.npmjs|\W/root/|\W/work/")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if (
            path.suffix in (".py", ".toml", ".md", ".lock", ".yaml", "")
            and path.is_file()
            and path != Path(__file__)
        ):
            found += [name for _ in suspicious.finditer(path.read_text(errors="replace"))]
    assert not found


def test_the_lock_has_hashes_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    names = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert len(names) > 100
    assert text.count("--hash=sha256:") >= len(names)
    assert "://" not in text
