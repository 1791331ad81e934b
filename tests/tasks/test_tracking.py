"""MLflow through its one door, on real SQLite databases."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.core.addresses import without_secret
from tasks.core.errors import TrackingError
from tasks.core.settings import default_tracking_uri
from tasks.tracking import EXPERIMENT, Tracker, open_tracker


@pytest.fixture(scope="module")
def tracker(tmp_path_factory) -> Tracker:
    home = tmp_path_factory.mktemp("home")
    return open_tracker(default_tracking_uri(home), home / "mlartifacts")


def test_runs_logged_from_many_threads_keep_to_themselves(tracker):
    def log(number: int) -> str:
        run_id = tracker.start_run(f"run {number}", tags={"number": str(number)})
        tracker.log(
            run_id,
            params={"number": number},
            metrics={"number": number},
            series=[("series", number + step, step) for step in range(5)],
        )
        tracker.end_run(run_id, completed=number % 2 == 0)
        return run_id

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(log, range(16)))
    for number, run_id in enumerate(runs):
        run = tracker.client.get_run(run_id)
        assert run.data.params == {"number": str(number)}
        assert run.data.metrics == {"number": number, "series": number + 4}
        assert run.info.status == ("FINISHED" if number % 2 == 0 else "FAILED")


def test_artifacts_stay_in_the_home_folder(tracker, tmp_path):
    (tmp_path / "card.md").write_text("not for diagnosis")
    run_id = tracker.start_run("with a file", tags={})
    tracker.log_files(run_id, [tmp_path / "card.md"])
    root = Path(tracker.uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    assert [path.read_text() for path in root.rglob("card.md")] == ["not for diagnosis"]


def test_two_processes_that_open_a_new_database_at_once_both_get_it(tmp_path):
    uri = default_tracking_uri(tmp_path)
    statement = f"from tasks.tracking import open_tracker; print(open_tracker({uri!r}, None).experiment_id)"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", statement], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=120) for process in started]
    said = {out.strip() for out, _ in ended}
    assert len(said) == 1, [error[-500:] for _, error in ended]
    assert said != {""}


def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(tmp_path):
    uri = default_tracking_uri(tmp_path)
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment(EXPERIMENT))
    with pytest.raises(TrackingError, match="mlflow experiments restore --experiment-id"):
        open_tracker(uri, None)


def test_a_password_in_the_address_is_not_repeated():
    assert without_secret("http://user:secret@host:5000/x") == "http://host:5000/x"
    assert without_secret("sqlite:////home/a@b/mlflow.db") == "sqlite:////home/a@b/mlflow.db"


def test_an_open_tracker_leaves_no_address_behind_for_the_next_flow_of_the_process(tracker):
    assert "MLFLOW_TRACKING_URI" not in os.environ


@pytest.mark.parametrize("uri", ["sqlite:////dev/null/mlflow.db", "nonsense://x"])
def test_an_address_that_mlflow_cannot_open_is_named_with_the_line_that_mends_it(uri):
    with pytest.raises(TrackingError, match="MLflow cannot be reached or written") as raised:
        open_tracker(uri, None)
    assert uri in str(raised.value)
    assert "correct MLFLOW_TRACKING_URI" in raised.value.fix


def test_a_database_that_somebody_else_holds_is_said_to_be_locked(tmp_path):
    tracker = open_tracker(default_tracking_uri(tmp_path), tmp_path / "mlartifacts")
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="database is locked"):
            tracker.start_run("late", tags={})
    assert tracker.start_run("afterwards", tags={})


def test_a_database_on_a_disk_that_is_read_only_is_said_to_be(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=False, capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"a disk cannot be mounted: {done.stderr.decode().strip()}")
    try:
        tracker = open_tracker(default_tracking_uri(place), place / "mlartifacts")
        tracker.client._tracking_client.store.engine.dispose()  # an open file keeps a disk from being read-only
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        with pytest.raises(TrackingError, match="readonly database"):
            tracker.start_run("late", tags={})
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
