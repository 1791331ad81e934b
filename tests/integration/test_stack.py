"""`radtrain up`, `status` and `down` on real servers: what starts, what stays, what is refused, what is ended."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from infra.processes import free_port
from infra.services import NAMES
from tests.integration.stacks import DISEASES, Ground, make_ground, until


def test_a_second_up_changes_nothing(ground: Ground):
    before = (ground.home / "stack" / "stack.json").read_bytes()
    done = ground.radtrain("up")
    assert done.returncode == 0
    assert done.stderr == ""
    assert f"Prefect  http://127.0.0.1:{ground.prefect_port}" in done.stdout
    assert (ground.home / "stack" / "stack.json").read_bytes() == before


def test_status_tells_what_answers_and_leads_a_shell_to_it(ground: Ground):
    said = json.loads(ground.radtrain("status", "--json").stdout)
    assert {name: one["state"] for name, one in said["services"].items()} == dict.fromkeys(NAMES, "up")
    assert ground.radtrain("status", "--env").stdout == (
        f"export PREFECT_API_URL={ground.api}\nexport MLFLOW_TRACKING_URI={ground.tracking}\n"
    )
    listed = ground.prefect("deployment", "ls")
    for name in ("train-all/fast", "train-all/intensive", "validate-data/all"):
        assert name in listed.stdout


def test_nothing_listens_beyond_this_machine(ground: Ground):
    """Of every process of the stack, every port."""
    heard = [
        connection.laddr.ip
        for process in ground.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(heard) >= 3
    assert set(heard) == {"127.0.0.1"}


def test_logs_can_be_read_by_their_owner_only(ground: Ground):
    for name in ("prefect-server", "mlflow-server", "worker-process"):
        assert (ground.home / "logs" / f"{name}.log").stat().st_mode & 0o077 == 0


def test_another_port_than_it_runs_at_is_refused(ground: Ground):
    done = ground.radtrain("up", "--prefect-port", str(free_port()))
    assert done.returncode == 16
    assert "The stack of this home folder runs already, with prefect at another port." in done.stderr
    assert f"received: port {ground.prefect_port}" in done.stderr


def test_a_part_is_not_started_on_other_databases_than_the_rest(ground: Ground):
    before = (ground.home / "stack" / "stack.json").read_bytes()
    done = ground.radtrain("up", RADTRAIN_DATABASE_URL="postgresql://me:secret@127.0.0.1:9/radtrain")
    assert done.returncode == 16
    assert "The stack of this home folder runs already, on other databases." in done.stderr
    assert "expected: SQLite in the home folder" in done.stderr
    assert "received: postgresql://127.0.0.1:9, radtrain_prefect and radtrain_mlflow" in done.stderr
    assert "secret" not in done.stderr
    assert (ground.home / "stack" / "stack.json").read_bytes() == before


def test_a_run_from_any_folder_ends_with_0_and_the_same_again_is_unchanged(ground: Ground):
    first = ground.prefect("deployment", "run", "train-all/fast", "--watch")
    assert first.returncode == 0, first.stdout
    again = ground.prefect("deployment", "run", "train-all/fast", "--watch")
    assert again.returncode == 0, again.stdout
    assert "finished successfully in 'Unchanged'" in again.stdout
    assert sum("radtrain.disease" in run.data.tags for run in ground.runs()) == len(DISEASES)


def test_a_run_that_fails_ends_with_1(ground: Ground):
    folder = ground.data / "pneumonia"
    folder.rename(ground.data / "away")
    try:
        done = ground.prefect("deployment", "run", "train-all/fast", "--watch")
    finally:
        (ground.data / "away").rename(folder)
    assert done.returncode == 1, done.stdout


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ('diseases=["arthrits"]', "'arthrits' is not one of ['cardiomegaly', 'arthritis', 'pneumonia']"),
        ("diseases=[]", "[] should be non-empty"),
        ("seed=-1", "-1 is less than the minimum of 0"),
        ("seed=half", "'half' is not of type 'integer'"),
        ("profile=intensive", "'intensive' is not one of ['fast']"),
        ("time_limit=0", "0"),
        ("sed=1", "not found on the deployment: 'sed'"),
    ],
)
def test_an_impossible_parameter_is_refused_before_anything_runs(ground: Ground, word: str, said: str):
    with ground.client() as client:
        before = len(client.read_flow_runs())
    done = ground.prefect("deployment", "run", "train-all/fast", "--param", word)
    assert done.returncode == 1
    assert said in " ".join((done.stdout + done.stderr).split())
    with ground.client() as client:
        assert len(client.read_flow_runs()) == before


def test_a_command_runs_and_records_in_the_stack_of_its_home_folder(ground: Ground):
    with ground.client() as client:
        before = {run.id for run in client.read_flow_runs()}
    done = ground.radtrain("train", "fast", "--disease", "arthritis", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["tracking_uri"] == ground.tracking
    with ground.client() as client:
        (new,) = [
            run for run in client.read_flow_runs() if run.id not in before and run.name.startswith("fast ")
        ]
    assert new.state is not None
    assert new.state.name == "Unchanged"  # the deployment's run did it
    assert not (ground.home / "prefect" / "temporary-server.log").exists()


def test_a_part_that_was_killed_comes_back_and_the_others_stay(ground: Ground):
    others = ground.pid("prefect"), ground.pid("worker")
    psutil.Process(ground.pid("mlflow")).kill()
    until(lambda: ground.radtrain("status").returncode == 16, "a status that says so")
    ground.up()
    assert (ground.pid("prefect"), ground.pid("worker")) == others
    assert ground.radtrain("status").returncode == 0


def test_two_ups_at_once_start_one_stack_and_down_ends_all_of_it_and_leaves_others_alone(tmp_path: Path):
    ground = make_ground(tmp_path)
    with ThreadPoolExecutor() as threads:
        done = [one.result() for one in [threads.submit(ground.radtrain, "up") for _ in range(2)]]
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert sorted("starting the worker" in one.stderr for one in done) == [False, True]
    for name in ("prefect server start", "mlflow server", "prefect worker start"):
        assert len([one for one in ground.processes() if name in " ".join(one.cmdline())]) == 1, name
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        ended = ground.radtrain("down")
        assert (ended.returncode, ended.stdout) == (0, "stopped: prefect, mlflow, worker\n")
        assert other.poll() is None
        other.kill()
    assert not ground.processes()
    for port in (ground.prefect_port, ground.mlflow_port):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("127.0.0.1", port))
    assert ground.radtrain("down").stdout == "nothing ran\n"


def test_a_port_that_is_taken_is_named_with_who_has_it_and_nothing_is_left_running(tmp_path: Path):
    ground = make_ground(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ground.mlflow_port))
        taken.listen()
        done = ground.radtrain("up")
    assert done.returncode == 16
    assert "error: The port of mlflow is taken." in done.stderr
    assert f"where:    127.0.0.1:{ground.mlflow_port}" in done.stderr
    assert "received: process " in done.stderr
    assert "radtrain up --mlflow-port PORT" in done.stderr
    assert not ground.processes()


def test_a_file_left_over_from_a_lost_machine_ends_nobody(tmp_path: Path):
    """The number in it is that of this process: it was not started then."""
    ground = make_ground(tmp_path)
    mine = psutil.Process()
    left = {
        name: {"name": name, "process": {"pid": mine.pid, "born": "another boot 1"}, "port": 1}
        for name in NAMES
    }
    (ground.home / "stack").mkdir(parents=True)
    (ground.home / "stack" / "stack.json").write_text(json.dumps(left))
    assert ground.radtrain("status").returncode == 16
    assert ground.radtrain("down").stdout == "nothing ran\n"
    assert mine.is_running()
    (ground.home / "stack" / "stack.json").write_text("{half a fi")
    assert ground.radtrain("down").stdout == "nothing ran\n"


def test_without_a_data_root_nothing_is_started(tmp_path: Path):
    done = make_ground(tmp_path).radtrain("up", RADTRAIN_DATA="")
    assert done.returncode == 12
    assert "No data root was named." in done.stderr


def test_a_full_disk_is_said_to_be_full(tiny_disk: Path, tmp_path: Path):
    ground = make_ground(tmp_path)
    done = ground.radtrain("up", RADTRAIN_HOME=str(tiny_disk / "home"))
    assert done.returncode in (13, 15, 16), done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr.split("received:")[0]
    assert not ground.processes()
