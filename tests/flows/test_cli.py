"""The command as a user runs it: a process of its own, its exit codes, its last line, what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.phantom_data import draw, write_catalog

DISEASES = ("cardiomegaly", "pneumonia")


def start(*words: object, group: bool = False, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=group,
    )


def radtrain(*words: object, **environment: str) -> tuple[int, str, str]:
    """Run the command and return exit code, stdout and stderr."""
    process = start(*words, **environment)
    out, error = process.communicate(timeout=300)
    return process.returncode, out, error


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Path:
    """A folder with data, catalog and home in it."""
    folder = tmp_path_factory.mktemp("cli")
    draw(folder / "data", DISEASES)
    write_catalog(folder / "catalog", DISEASES)
    return folder


def training(ground: Path, *words: object) -> list[object]:
    diseases = [word for key in DISEASES for word in ("--disease", key)]
    return [
        *("train", "fast", *diseases),
        *("--data", ground / "data", "--catalog", ground / "catalog", "--home", ground / "home"),
        *words,
    ]


def children_of(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


@pytest.fixture(scope="module")
def trained(ground) -> tuple[int, str, str]:
    return radtrain(*training(ground, "--json"))


def test_json_is_one_object_on_the_last_line_of_stdout(trained):
    code, out, error = trained
    assert code == 0, error
    said = json.loads(out.splitlines()[-1])
    assert {key: disease["state"] for key, disease in said["diseases"].items()} == {
        "cardiomegaly": "completed",
        "pneumonia": "completed",
    }
    assert len(out.splitlines()) == 1


def test_progress_goes_to_stderr_with_the_time_left(trained):
    assert "reading images: 160 done, about " in trained[2]
    assert "features: 160 done, about " in trained[2]
    assert "classifiers: 2 done, about 0 s left" in trained[2]


def test_the_table_names_every_disease_with_interval_and_share_from_cache(ground, trained):
    code, out, error = radtrain(*training(ground, "--seed", 5, "--set", "epochs=1"))
    assert code == 0, error
    rows = [line.split() for line in out.splitlines() if " completed " in line and "%" in line]
    assert [row[:3] for row in rows] == [
        ["cardiomegaly", "completed", "80"],
        ["pneumonia", "completed", "80"],
    ]
    assert all(row[-1] == "100%" and row[4].startswith("(") for row in rows)
    assert "2 of 2 diseases completed." in out
    assert "Not for diagnosis" in out


def test_nothing_that_a_run_started_outlives_it(ground, trained):
    process = start(*training(ground))
    started: set[psutil.Process] = set()
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            started.update(children_of(psutil.Process(process.pid)))
        time.sleep(0.2)
    process.communicate()
    assert len(started) >= 2  # the server and the worker
    assert not [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_run_that_is_killed_takes_server_and_worker_along(ground, trained):
    process = start(*training(ground))
    deadline = time.monotonic() + 60
    children: list[psutil.Process] = []
    while len(children) < 3 and time.monotonic() < deadline and process.poll() is None:
        children = children_of(psutil.Process(process.pid))
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    for child in alive:
        child.kill()
    assert not alive


@pytest.mark.parametrize("group", [False, True], ids=["the command alone", "all its processes"])
def test_ctrl_c_ends_with_130_and_says_what_is_kept(ground, trained, group):
    """A terminal tells all processes, `kill -INT` one; training, which would go on for minutes, is not waited for."""
    process = start(*training(ground, "--set", "epochs=20000", "--seed", int(group)), group=group)
    deadline = time.monotonic() + 90
    while not list((ground / "home" / "checkpoints").glob("*/epoch-*.npz")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=40)
    assert process.returncode == 130, error
    assert "stopped" in error
    shutil.rmtree(ground / "home" / "checkpoints")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "fats"], 10, "Did you mean 'fast'?"),
        (["train", "fast", "--disease", "pnuemonia"], 10, "Did you mean 'pneumonia'?"),
        (["train", "fast", "--set", "epohcs=3"], 10, "Did you mean 'epochs'?"),
        (["train", "fast", "--set", "epochs"], 10, "put an = between"),
        (["train", "fast", "--set", "epochs=-1"], 10, "greater than or equal to 1"),
        (["train", "fast", "--set", "backbone=MobilNetV2"], 10, "Did you mean 'MobileNetV2'?"),
        (["train", "fast", "--set", "weights=/nowhere/w.h5"], 14, "/nowhere/w.h5"),
        (["train", "fast", "--catalog", "/nowhere"], 10, "The catalog folder is not there."),
        (["train", "fast"], 12, "No data root was named."),
        (["train", "fast", "--data", "/nowhere"], 12, "The data root is not a folder."),
        (["train", "intensive", "--time-limit", "0"], 2, "expected minutes above 0"),
        (["train", "fast", "--seed", "-1"], 2, "expected a whole number from 0"),
        (["trian"], 2, "invalid choice"),
        (["demo", "--patients", "3"], 2, "expected a whole number from 60"),
        (["cache", "prune"], 2, "one of the arguments"),
        (["cache", "prune", "--space", "abc", "--home", "/nowhere"], 15, "There is no cache space 'abc'."),
    ],
)
def test_a_wrong_word_is_answered_at_once_with_its_code_and_remedy(words, code, said):
    ended, out, error = radtrain(*words)
    assert ended == code
    assert said in error
    assert "Traceback" not in error
    assert not out


def test_a_typo_in_a_catalog_file_names_the_file_and_the_line(tmp_path):
    (tmp_path / "profiles.toml").write_text("[profiles.fast]\nepochs = = 3\n")
    code, _, error = radtrain("train", "fast", "--catalog", tmp_path)
    assert code == 10
    assert "profiles.toml" in error
    assert "line 2" in error


def test_missing_imagenet_weights_end_with_14_and_three_ways_to_mend_it(ground, tmp_path):
    write_catalog(tmp_path / "catalog", DISEASES, profile="[profiles.fast]\n")
    code, _, error = radtrain(
        *("train", "fast", "--disease", "pneumonia", "--data", ground / "data", "--home", tmp_path / "home"),
        *("--catalog", tmp_path / "catalog"),
        KERAS_HOME=str(tmp_path / "keras"),
        https_proxy="http://127.0.0.1:9",  # nobody answers there: a machine without a network
    )
    assert code == 14
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.75_128_no_top.h5" in error
    assert all(way in error for way in ("(1)", "(2)", "(3)", "--set weights=PATH"))
    assert "Traceback" not in error


def test_a_tracking_server_that_cannot_be_there_ends_with_13_before_anything_is_started(ground):
    code, _, error = radtrain(*training(ground), MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert code == 13
    assert "MLflow cannot be reached or written." in error
    assert "reading images" not in error
    assert "Traceback" not in error


def test_a_home_that_is_a_file_ends_with_15(ground, tmp_path):
    (tmp_path / "home").write_text("")
    code, _, error = radtrain("train", "fast", "--data", ground / "data", "--home", tmp_path / "home")
    assert code == 15
    assert "a file stands where a folder is needed" in error


def test_a_named_prefect_server_that_is_not_there_ends_with_16(ground):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = listener.getsockname()[1]
        code, _, error = radtrain(*training(ground), PREFECT_API_URL=f"http://127.0.0.1:{port}/api")
    assert code == 16
    assert "The Prefect server does not answer." in error


def test_the_cache_is_listed_and_pruned_and_filled_again(ground, trained):
    code, out, _ = radtrain("cache", "list", "--home", ground / "home", "--json")
    spaces = {space["kind"]: space for space in json.loads(out)}
    assert code == 0
    assert (spaces["features"]["rows"], spaces["pixels"]["rows"]) == (160, 160)
    code, out, _ = radtrain(
        "cache", "prune", "--home", ground / "home", "--space", spaces["features"]["digest"]
    )
    assert code == 0
    assert spaces["features"]["digest"] in out
    code, out, error = radtrain(*training(ground, "--json", "--force"))
    assert code == 0, error
    assert json.loads(out)["diseases"]["pneumonia"]["features_cached"] == 0.0


def test_help_shows_every_exit_code():
    code, out, _ = radtrain("--help")
    assert code == 0
    for number in (0, 1, 2, 10, 11, 12, 13, 14, 15, 16, 130):
        assert f"\n  {number:>3}  " in out
