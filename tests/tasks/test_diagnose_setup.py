"""The doctor in whole and broken surroundings: real folders, a small disk, closed ports, a disk that hangs."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tasks import diagnose_setup, find_weights
from tasks.core.diagnosis import Line, exit_code
from tasks.core.settings import QUIET, Settings, read_settings
from tasks.diagnose_setup import LARGE, diagnose
from tests.phantom_data import write_catalog

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "keras", "mlflow", "prefect", "great_expectations", "pandas", "sklearn", "matplotlib")
NAMES = (
    *("python", "bytecode", "packages", "pins", "tensorflow", "telemetry", "catalog", "data", "weights"),
    *("home", "locks", "space", "prefect", "mlflow", "cores", "threads", "memory", "open files"),
)


@pytest.fixture
def settings(tmp_path) -> Settings:
    """Two diseases of three folders each, a profile without weights, and a home that is not made yet."""
    catalog = write_catalog(tmp_path / "catalog", ["cardiomegaly", "pneumonia"])
    disabled = "".join(f"\n[diseases.{key}]\nenabled = false\n" for key in ("arthritis", "osteoporosis"))
    with (catalog / "diseases.toml").open("a") as file:
        file.write(disabled + "\n[diseases.bone_fracture]\nenabled = false\n")
    for key in ("cardiomegaly", "pneumonia"):
        (tmp_path / "data" / key).mkdir(parents=True)
    return read_settings(
        {}, data=str(tmp_path / "data"), home=str(tmp_path / "home"), catalog=str(tmp_path / "catalog")
    )


def seen(settings: Settings, **environment: str) -> dict[str, Line]:
    """Return what the doctor says, by name, in an environment that holds just this."""
    return {line.name: line for line in diagnose(settings, environment)}


# Everything in place


def test_whole_surroundings_have_one_line_for_each_thing_and_nothing_fails(settings):
    lines = diagnose(settings, {})
    assert tuple(line.name for line in lines) == NAMES
    assert [line for line in lines if line.state == "fail"] == []
    assert exit_code(lines) == 0
    assert all(bool(line.remedy) == (line.state != "ok") for line in lines)


def test_it_says_what_is_there(settings):
    said = {name: line.text for name, line in seen(settings).items()}
    assert said["catalog"] == f"2 diseases, 3 profiles, with {settings.catalog}"
    assert said["data"] == f"{settings.data}: 2 of 2 source folders are there"
    assert said["weights"].endswith("fast: random")
    assert said["home"].startswith(f"{settings.home}, writable")
    assert said["mlflow"] == f"the first run makes {settings.home}/mlflow.db"
    assert "fastapi" in said["pins"]


def test_it_leaves_nothing_behind_but_the_home_folder(settings):
    diagnose(settings, {})
    assert list(settings.home.iterdir()) == []


def test_it_answers_within_two_seconds_without_a_heavy_import(settings):
    code = (
        "import sys, time; began = time.monotonic()\n"
        "from tasks.core.settings import read_settings; from tasks.diagnose_setup import diagnose\n"
        "from flows.doctor import show_doctor\n"
        "show_doctor(diagnose(read_settings({}, data=sys.argv[1], home=sys.argv[2]), {}), True)\n"
        "took = time.monotonic() - began\n"
        "print(took, *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    runs = []
    for _ in range(3):  # the best of three: what else runs here is not its cost
        run = subprocess.run(
            [sys.executable, "-c", code, str(settings.data), str(settings.home)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        took, *loaded = run.stderr.split()
        assert not set(loaded) & set(HEAVY)
        runs.append(float(took))
    assert min(runs) < 2


# The program and its environment


def test_no_compiled_package_and_no_leave_to_write_it_is_a_warning(settings, tmp_path, monkeypatch):
    for name in LARGE:  # a tree like that of an installation without --compile
        (tmp_path / "packages" / name).mkdir(parents=True)
        (tmp_path / "packages" / name / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packages")])
    for name in LARGE:  # else find_spec takes the one that a test before this imported
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    told = Line("x", "ok", "")
    for environment in ({"PYTHONDONTWRITEBYTECODE": "1"}, {}):
        [told] = diagnose_setup._bytecode(
            diagnose_setup.Setup(settings, environment, diagnose_setup._start(int))
        )
        assert ", ".join(LARGE) in told.text
        assert told.state == ("warn" if environment else "ok")
        assert told.remedy == (
            f"{sys.executable} -m compileall -q {tmp_path / 'packages'}" if environment else ""
        )


def test_telemetry_and_threads_are_read_from_the_environment_given(settings):
    said = seen(settings, **QUIET | {"DO_NOT_TRACK": "false", "OMP_NUM_THREADS": "10000"})
    assert said["telemetry"].text == "not off: DO_NOT_TRACK=false"
    assert "OMP_NUM_THREADS=10000" in said["threads"].text


def test_few_open_files_are_said(settings):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        line = seen(settings)["open files"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert line.state == "warn"


# Catalog and data


def test_a_wrong_catalog_fails_with_the_error_of_a_run_and_the_rest_is_still_told(settings):
    assert settings.catalog is not None
    (settings.catalog / "profiles.toml").write_text("[profiles.fast]\nepohcs = 3\n")
    said = seen(settings)
    assert (said["catalog"].state, said["catalog"].exit_code) == ("fail", 10)
    assert "Did you mean 'epochs'?" in said["catalog"].text
    assert said["catalog"].remedy == "mend the keys named above"
    assert said["data"].state == "ok"
    assert "weights" not in said
    assert said["home"].text.startswith(str(settings.home))


def test_a_backbone_that_there_is_not_fails_as_the_catalog_does(settings):
    assert settings.catalog is not None
    (settings.catalog / "profiles.toml").write_text("[profiles.fast]\nbackbone = 'MobileNetV9'\n")
    line = seen(settings)["weights"]
    assert (line.state, line.exit_code) == ("fail", 10)
    assert "MobileNetV2" in line.text


def test_no_data_root_is_a_warning_and_a_wrong_one_a_failure(settings, tmp_path):
    line = seen(replace(settings, data=None))["data"]
    assert line.state == "warn"
    assert "RADTRAIN_DATA=DIR" in line.remedy
    (tmp_path / "file").touch()
    for wrong, received in ((tmp_path / "gone", "nothing"), (tmp_path / "file", "a file")):
        line = seen(replace(settings, data=wrong))["data"]
        assert (line.state, line.exit_code) == ("fail", 12)
        assert str(wrong) in line.text
        assert received in line.text


def test_source_folders_that_are_missing_fail_with_the_command_that_finds_them(settings):
    assert settings.data is not None
    shutil.rmtree(settings.data / "pneumonia")
    line = seen(settings)["data"]
    assert (line.state, line.exit_code) == ("fail", 11)
    assert line.text.endswith("1 of 2 source folders are there")
    assert line.remedy.startswith(f"radtrain check --data {settings.data} --catalog {settings.catalog}:")
    shutil.rmtree(settings.data / "cardiomegaly")
    assert seen(settings)["data"].exit_code == 12


def test_a_remedy_with_a_space_in_a_folder_can_be_pasted(settings, tmp_path):
    (tmp_path / "my data").mkdir()
    line = seen(replace(settings, data=tmp_path / "my data"))["data"]
    assert f"--data '{tmp_path}/my data'" in line.remedy


# Weights


def test_imagenet_weights_are_looked_for_where_a_run_looks(settings, tmp_path, monkeypatch):
    settings = replace(settings, catalog=None)
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.75_128_no_top.h5"
    other = "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
    line = seen(settings, KERAS_HOME=str(tmp_path))["weights"]
    assert line.state == "warn"
    assert f"fast: {name} is not there; intensive: {other} is not there" in line.text
    assert str(tmp_path / "models") in line.remedy
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    for file in (find_weights._keras_cache() / name, find_weights._keras_cache() / other):
        file.write_bytes(b"x" * 2**20)
    line = seen(settings, KERAS_HOME=str(tmp_path))["weights"]
    assert line.state == "ok"
    assert f"fast: {tmp_path / 'models' / name} (1.0 MiB)" in line.text
    assert f"intensive: {tmp_path / 'models' / other} (1.0 MiB)" in line.text


def test_a_weights_file_of_the_catalog_that_is_missing_fails(settings):
    assert settings.catalog is not None
    (settings.catalog / "profiles.toml").write_text("[profiles.fast]\nweights = 'mine.npz'\n")
    line = seen(settings)["weights"]
    assert (line.state, line.exit_code) == ("fail", 14)
    assert str(settings.catalog / "mine.npz") in line.text


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ("alpha = 0.6", "no ImageNet weights of MobileNetV2 with this alpha"),
        ("backbone = 'Xception'", "cannot have this alpha"),  # the shipped profile's 0.75
        ("backbone = 'MobileNet'\nalpha = 0.01\nweights = 'random'", "cannot have this alpha"),
    ],
)
def test_a_backbone_that_cannot_be_as_the_profile_wants_it_fails_as_the_catalog_does(settings, figures, said):
    assert settings.catalog is not None
    imagenet = "" if "weights" in figures else "\nweights = 'imagenet'"
    (settings.catalog / "profiles.toml").write_text(f"[profiles.fast]\n{figures}{imagenet}\n")
    line = seen(settings)["weights"]
    assert (line.state, line.exit_code) == ("fail", 10)
    assert said in line.text


def test_a_width_without_imagenet_weights_can_start_from_random_ones(settings):
    assert settings.catalog is not None
    (settings.catalog / "profiles.toml").write_text("[profiles.fast]\nalpha = 0.6\nweights = 'random'\n")
    line = seen(settings)["weights"]
    assert line.state != "fail"
    assert "fast: random" in line.text


# Home


@pytest.mark.parametrize("below", [".", "home"])
def test_a_file_in_place_of_the_home_fails_and_everything_else_is_still_told(settings, tmp_path, below):
    (tmp_path / "file").touch()
    said = seen(replace(settings, home=tmp_path / "file" / below))
    assert (said["home"].state, said["home"].exit_code) == ("fail", 15)
    assert "a file stands where a folder is needed" in said["home"].remedy
    assert "memory" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_without_permission_fails(settings, tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert seen(settings)["home"].exit_code == 15
    finally:
        tmp_path.chmod(0o700)


def test_a_small_disk_in_memory_is_too_small_and_passing(settings, tiny_disk):
    said = seen(replace(settings, home=tiny_disk))
    assert said["home"].state == "warn"
    assert "tmpfs" in said["home"].text
    assert (said["space"].state, said["space"].exit_code) == ("fail", 15)
    assert said["locks"].state == "ok"
    assert list(tiny_disk.iterdir()) == []


def test_a_full_disk_fails_and_is_no_exception(settings, tiny_disk):
    with pytest.raises(OSError, match="No space"):
        (tiny_disk / "full").write_bytes(b"x" * 2**17)
    said = seen(replace(settings, home=tiny_disk))
    assert said["space"].exit_code == 15
    assert (said["locks"].state, said["locks"].exit_code) == ("fail", 15)
    assert "full" in said["locks"].text
    assert [path.name for path in tiny_disk.iterdir()] == ["full"]


def test_the_cache_is_measured(settings):
    space = settings.home / "cache" / "features" / "a"
    space.mkdir(parents=True)
    with (space / "0.block").open("wb") as file:
        file.truncate(2**30)
    assert seen(settings)["space"].text.endswith("cache 1.0 GiB")


# Servers


def test_servers_that_are_not_there_fail_without_their_passwords(settings):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        place = f"me:hunter2@127.0.0.1:{listener.getsockname()[1]}"
    lines = diagnose(
        replace(settings, tracking_uri=f"http://{place}"), {"PREFECT_API_URL": f"http://{place}/api"}
    )
    said = {line.name: line for line in lines}
    assert (said["prefect"].exit_code, said["mlflow"].exit_code) == (16, 13)
    assert exit_code(lines) == 13
    assert "hunter2" not in str(lines)


def test_a_broken_database_fails(settings):
    settings.home.mkdir()
    (settings.home / "mlflow.db").write_bytes(b"x" * 5000)
    line = seen(settings)["mlflow"]
    assert (line.state, line.exit_code) == ("fail", 13)
    assert "not a database" in line.text


# Probes that cannot work


def test_a_probe_that_hangs_costs_its_own_line_and_no_more_than_the_patience(settings):
    assert settings.catalog is not None
    os.mkfifo(settings.catalog / "pipe.toml")
    (settings.catalog / "diseases.toml").unlink()
    (settings.catalog / "pipe.toml").rename(settings.catalog / "diseases.toml")  # whoever reads it waits
    began = time.monotonic()
    lines = diagnose(settings, {}, patience_s=1.5)
    said = {line.name: line for line in lines}
    assert time.monotonic() - began < 4
    assert (said["catalog"].text, said["catalog"].exit_code) == ("no answer in time", 10)
    assert "hangs" in said["catalog"].remedy
    assert said["home"].state in ("ok", "warn")
    with (settings.catalog / "diseases.toml").open("w"):  # let the thread go
        pass


def test_what_the_system_refuses_is_a_line(settings):
    said = seen(replace(settings, home=settings.home / ("x" * 300)))
    assert (said["home"].state, said["home"].exit_code) == ("fail", 15)
    assert "File name too long" in said["home"].text


def test_a_package_that_cannot_be_imported_is_a_line_with_the_installing_command(settings):
    code = (
        "import sys; sys.modules['pydantic'] = None; sys.modules['packaging'] = None\n"  # as if not installed
        "from tasks.core.settings import read_settings; from tasks.diagnose_setup import diagnose\n"
        "from flows.doctor import show_doctor\n"
        "show_doctor(diagnose(read_settings({}, home=sys.argv[1]), {}), False)"
    )
    command = [sys.executable, "-c", code, str(settings.home)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rows = run.stdout.splitlines()
    assert any(row.startswith("FAIL  catalog") and "pydantic" in row for row in rows)
    assert any(row.startswith("FAIL  packages") and "packaging" in row for row in rows)
    assert "-r requirements.lock" in run.stdout
