"""What is done again and what is not: nothing changed, one image changed, a run that was killed, two at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

from flows.train_all import train_all
from tasks import find_unchanged
from tasks.code_digest import digest_of
from tasks.core.report import DiseasesFailed, Report
from tasks.core.settings import default_tracking_uri
from tasks.progress import listening
from tasks.worker import Worker
from tests.phantom_data import draw, write_catalog

DISEASES = ("cardiomegaly", "pneumonia")


@dataclass(frozen=True)
class Ground:
    """A data root, a catalog and a home."""

    data: Path
    catalog: Path
    home: Path

    def train(self, **words) -> State[Report]:
        said = {"diseases": list(DISEASES), **words}
        places = {"data": str(self.data), "catalog": str(self.catalog), "home": str(self.home)}
        return train_all(**places, **said, return_state=True)

    def runs(self) -> list[Run]:
        client = MlflowClient(default_tracking_uri(self.home))
        experiment = client.get_experiment_by_name("radtrain")
        assert experiment is not None
        return client.search_runs([experiment.experiment_id])


@pytest.fixture(scope="module")
def ground(tmp_path_factory, prefect_server, worker) -> Ground:
    folder = tmp_path_factory.mktemp("again")
    data = draw(folder / "data", DISEASES)
    return Ground(data, write_catalog(folder / "catalog", DISEASES), folder / "home")


@pytest.fixture(scope="module")
def first(ground) -> Report:
    state = ground.train()
    assert state.message == "2 of 2 diseases completed."
    return state.result()


def states(report: Report) -> dict[str, str]:
    return {outcome.disease: outcome.state for outcome in report.outcomes}


def test_where_nothing_changed_nothing_is_trained_and_the_earlier_run_is_named(ground, first):
    before = {run.info.run_id for run in ground.runs()}
    state = ground.train()
    assert state.is_completed()
    assert state.name == "Unchanged"
    assert state.message is not None
    assert state.message.startswith(f"Nothing changed since run {first.run_id} of 20")
    assert state.message.endswith("UTC: its 2 diseases stand.")
    report = state.result()
    assert states(report) == {"cardiomegaly": "unchanged", "pneumonia": "unchanged"}
    for now, then in zip(report.outcomes, first.outcomes, strict=True):
        assert (now.run_id, now.counts) == (then.run_id, then.counts)
        assert str(now.test) == str(then.test)  # as text: some of them are no number
    assert report.folder == first.folder
    assert report.exit_code() == 0
    assert {run.info.run_id for run in ground.runs()} == before


def test_the_page_of_a_run_has_a_table_with_a_link_to_each_run_in_mlflow(ground, first):
    state = ground.train()
    chosen = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]),
        key=ArtifactFilterKey(any_=["results-fast"]),
    )
    with get_client(sync_client=True) as client:
        [artifact] = client.read_artifacts(artifact_filter=chosen)
    rows = json.loads(str(artifact.data))
    assert [row["disease"] for row in rows] == list(DISEASES)
    for row, outcome in zip(rows, first.outcomes, strict=True):
        assert row["state"] == "unchanged"
        assert row["test images"] == str(outcome.test["auroc"].n)
        assert row["run"].startswith("[open in MLflow](http://127.0.0.1:5000/#/experiments/")
        assert f"/runs/{outcome.run_id}?" in row["run"]
        assert f"/runs/{outcome.run_id}/artifacts/card.md?" in row["report"]
    assert str(artifact.description).startswith(f"Nothing changed since run {first.run_id}")


def test_force_trains_again_and_comes_to_the_same_weights(ground, first):
    report = ground.train(force=True).result()
    assert states(report) == {"cardiomegaly": "completed", "pneumonia": "completed"}
    assert report.run_id != first.run_id
    assert trained(ground, report) == trained(ground, first)
    for outcome in report.outcomes:
        assert outcome.features_cached == 1.0


def test_another_seed_is_another_run(ground, first):
    assert set(states(ground.train(seed=5).result()).values()) == {"completed"}


def test_other_code_is_another_run(ground, first, monkeypatch):
    """The digest is that of files on the disk: here of a folder with one file."""
    (ground.home / "code").mkdir(exist_ok=True)
    (ground.home / "code" / "fit.py").write_text("epochs = 4\n")
    digest = digest_of([ground.home / "code"])
    monkeypatch.setattr(find_unchanged, "code_digest", lambda: digest)
    report = ground.train(diseases=["pneumonia"]).result()
    assert states(report) == {"pneumonia": "completed"}


def test_a_run_that_was_deleted_in_mlflow_or_lost_its_files_does_not_stand(ground, first):
    report = ground.train(seed=6).result()
    client = MlflowClient(default_tracking_uri(ground.home))
    client.delete_run(report.outcomes[0].run_id)
    (Path(report.folder) / "pneumonia" / "scores.parquet").unlink()
    again = ground.train(seed=6).result()
    assert states(again) == {"cardiomegaly": "completed", "pneumonia": "completed"}


def test_one_changed_image_trains_only_the_diseases_that_hold_it(ground, first, tmp_path):
    """The image is new: of the other ones, every feature comes from the cache."""
    data = tmp_path / "data"
    shutil.copytree(ground.data, data)
    changed = Ground(data, ground.catalog, ground.home)
    assert changed.train().name == "Unchanged"
    old = min((data / "pneumonia" / "positive").iterdir())
    other = draw(tmp_path / "other", ["pneumonia"], patients=44)
    known = {path.name for path in (data / "pneumonia" / "positive").iterdir()}
    new = next(
        path for path in sorted((other / "pneumonia" / "positive").iterdir()) if path.name not in known
    )
    shutil.copy(new, old)
    report = changed.train().result()
    assert states(report) == {"cardiomegaly": "unchanged", "pneumonia": "completed"}
    assert report.message() == "2 of 2 diseases completed, 1 of them unchanged."
    retrained = next(outcome for outcome in report.outcomes if outcome.disease == "pneumonia")
    images = sum(retrained.counts.values())
    assert retrained.features_cached == pytest.approx(1 - 1 / images)
    parent = MlflowClient(default_tracking_uri(ground.home)).get_run(report.run_id)
    assert parent.data.metrics["features/images_computed"] == 1
    assert parent.data.metrics["diseases_unchanged"] == 1
    assert parent.data.tags["radtrain.unchanged"] == "cardiomegaly"


def test_a_failed_disease_is_tried_again_and_the_others_stand(ground, first, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(ground.data, data)
    shutil.rmtree(data / "pneumonia" / "positive")
    broken = Ground(data, ground.catalog, ground.home)
    for _ in range(2):
        state = broken.train()
        assert state.is_failed()
        assert state.message == (
            "1 of 2 diseases completed, 1 of them unchanged. pneumonia failed: class_folder_missing."
        )
        failed = state.result(raise_on_failure=False)
        assert isinstance(failed, DiseasesFailed)
        assert states(failed.report) == {"cardiomegaly": "unchanged", "pneumonia": "failed"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_training_that_is_killed_is_tried_once_more_and_says_so(ground, first, worker, number):
    killing = threading.Thread(target=kill_a_training, args=(ground.home, worker, number, 1))
    killing.start()
    state = ground.train(seed=100 + number, overrides={"epochs": 30})
    killing.join()
    assert state.is_completed(), state.message
    retried = [outcome for outcome in state.result().outcomes if outcome.retried]
    assert len(retried) == 1
    assert retried[0].retried.startswith(number.name)
    assert "GiB" in retried[0].retried
    run = MlflowClient(default_tracking_uri(ground.home)).get_run(retried[0].run_id)
    assert run.data.tags["radtrain.retried"] == retried[0].retried
    assert run.data.metrics["train/resumed_after"] >= 1


def test_a_training_that_is_killed_twice_fails_alone_with_its_cause(ground, first, worker):
    killing = threading.Thread(target=kill_a_training, args=(ground.home, worker, signal.SIGABRT, 2))
    killing.start()
    state = ground.train(seed=7, overrides={"epochs": 40})
    killing.join()
    assert state.is_failed()
    failed = state.result(raise_on_failure=False)
    assert isinstance(failed, DiseasesFailed)
    assert sorted(states(failed.report).values()) == ["completed", "failed"]
    [outcome] = failed.report.failed()
    assert outcome.cause == "WorkerDied"
    assert "The TensorFlow process ended: SIGABRT, having taken" in outcome.reason


def test_a_training_that_overruns_its_limit_fails_alone(ground, first, worker):
    """The limit is one that only the training with many epochs passes."""
    state = ground.train(diseases=["pneumonia"], seed=8, overrides={"epochs": 4000}, training_limit=2 / 60)
    assert state.is_failed()
    failed = state.result(raise_on_failure=False)
    assert isinstance(failed, DiseasesFailed)
    assert "its limit of 2 s ran out" in failed.report.outcomes[0].reason


def test_the_same_work_twice_at_once_is_refused(ground, first):
    with ThreadPoolExecutor() as threads:
        asked = [
            threads.submit(ground.train, seed=9, overrides={"epochs": 30}, diseases=["pneumonia"])
            for _ in range(2)
        ]
        ended = sorted((future.result() for future in asked), key=lambda state: state.name or "")
    assert [state.name for state in ended] == ["Completed", "Refused"]
    assert ended[1].is_cancelled()
    assert ended[1].message == "Another run is at the same work; this one would do it twice."


def test_a_disease_that_two_runs_want_at_once_is_trained_once(ground, first):
    """They are not at the same work; the later one waits for the disease that both want, and takes what came of it."""
    said: list[str] = []

    def train(diseases: list[str]) -> State[Report]:
        with listening(lambda *_: None, announcer=said.append):
            return ground.train(diseases=diseases, seed=12, overrides={"epochs": 30})

    with ThreadPoolExecutor() as threads:
        asked = [threads.submit(train, keys) for keys in (list(DISEASES), ["pneumonia"])]
        reports = [future.result().result() for future in asked]
    ended = Counter((outcome.disease, outcome.state) for report in reports for outcome in report.outcomes)
    assert ended == {
        ("cardiomegaly", "completed"): 1,
        ("pneumonia", "completed"): 1,
        ("pneumonia", "unchanged"): 1,
    }
    assert said == ["another run trains pneumonia in just this way: it is waited for"]
    assert not list(ground.home.glob("at-work/plan-*"))


SCRIPT = """
import sys
from flows.train_all import train_all
if __name__ == "__main__":
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    train_all(**words, diseases=["cardiomegaly", "pneumonia"], seed=77, overrides={"epochs": 300})
"""


def test_a_flow_that_is_killed_is_seen_to_its_end_by_the_next_one(ground, first, tmp_path):
    """By SIGKILL while a disease trains: no process and no run stays, and how to go on is said."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    places = [f"data={ground.data}", f"catalog={ground.catalog}", f"home={ground.home}"]
    known = epochs(ground.home)
    with subprocess.Popen(
        [sys.executable, str(script), *places],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **server()},
        start_new_session=True,
    ) as flow:
        ends = time.monotonic() + 180
        while not epochs(ground.home) - known:
            assert time.monotonic() < ends
            assert flow.poll() is None
            time.sleep(0.02)
        children = psutil.Process(flow.pid).children(recursive=True)
        flow.kill()
    _, living = psutil.wait_procs(children, timeout=20)
    assert not living
    running = [run for run in ground.runs() if run.info.status == "RUNNING"]
    [parent] = [run for run in running if "radtrain.disease" not in run.data.tags]
    lost = parent.data.tags["radtrain.flow_run"]
    ground.train()  # whichever run comes next sees it to its end
    client = MlflowClient(default_tracking_uri(ground.home))
    assert client.get_run(parent.info.run_id).info.status == "KILLED"
    assert client.get_run(parent.info.run_id).data.tags["radtrain.cause"] == "lost"
    with get_client(sync_client=True) as prefect:
        state = prefect.read_flow_run(lost).state
    assert state is not None
    assert state.is_crashed()
    assert f"prefect flow-run retry {lost} goes on from there" in (state.message or "")
    assert not [run for run in ground.runs() if run.info.status == "RUNNING"]


def epochs(home: Path) -> set[Path]:
    """Return what is kept of trainings that have not ended."""
    return set(home.glob("checkpoints/*/epoch-*"))


def server() -> dict[str, str]:
    from prefect.settings import get_current_settings

    return {"PREFECT_API_URL": str(get_current_settings().api.url)}


def kill_a_training(home: Path, worker: Worker, number: int, times: int) -> None:
    """Kill the process of the worker while it trains one disease, so many times: after an epoch that is new."""
    known, place = epochs(home), "*"
    for _ in range(times):
        ends = time.monotonic() + 120
        while not (fresh := set(home.glob(f"checkpoints/{place}/epoch-*")) - known):
            assert time.monotonic() < ends
            time.sleep(0.002)
        known |= fresh
        place = next(iter(fresh)).parent.name
        os.kill(worker.process_id(), number)


def trained(ground: Ground, report: Report) -> dict[str, str]:
    client = MlflowClient(default_tracking_uri(ground.home))
    runs = [client.get_run(outcome.run_id) for outcome in report.outcomes]
    return {run.data.tags["radtrain.disease"]: run.data.tags["radtrain.trained"] for run in runs}
