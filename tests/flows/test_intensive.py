"""An augmented profile with a trained tail through the whole flow: the same again, sides kept, and after a kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flows.train_all import train_all
from tasks.cache import list_spaces
from tasks.core.report import Report
from tasks.core.settings import default_tracking_uri
from tests import small_network
from tests.phantom_data import draw, write_catalog

#: The heart lies on the left: of the shipped catalog, pneumonia keeps its sides, arthritis of the knee need not.
DISEASES = ("pneumonia", "arthritis")
EPOCHS = 6
_PROFILE = """
[profiles.intensive]
backbone = "MobileNetV2"
alpha = 0.35
weights = "{weights}"
image_side = 64
precision = "float32"
dense_units = 16
batch_size = 16
epochs = {epochs}
steps_per_epoch = 2
learning_rate = 0.001
augmentation_variants = 2
"""


@dataclass(frozen=True)
class Ground:
    """A data root, a catalog and a home."""

    data: Path
    catalog: Path
    home: Path

    def train(self, *, force: bool = False) -> Report:
        state = train_all(
            profile="intensive",
            diseases=list(DISEASES),
            data=str(self.data),
            catalog=str(self.catalog),
            home=str(self.home),
            force=force,
            return_state=True,
        )
        assert state.is_completed(), state.message
        return state.result()


def run_of(home: Path, run_id: str) -> Run:
    return MlflowClient(default_tracking_uri(home)).get_run(run_id)


def runs(home: Path, report: Report) -> dict[str, Run]:
    return {outcome.disease: run_of(home, outcome.run_id) for outcome in report.outcomes}


def digest(run: Run) -> str:
    return run.data.tags["radtrain.trained"]


@pytest.fixture(scope="module")
def ground(tmp_path_factory, prefect_server, worker) -> Ground:
    folder = tmp_path_factory.mktemp("intensive")
    weights = small_network.write_weights(folder / "small.npz")
    profile = _PROFILE.format(weights=weights, epochs=EPOCHS)
    catalog = write_catalog(folder / "catalog", DISEASES, profile=profile)
    return Ground(draw(folder / "data", DISEASES), catalog, folder / "home")


@pytest.fixture(scope="module")
def first(ground) -> Report:
    return ground.train()


@pytest.fixture(scope="module")
def again(ground, first) -> Report:
    return ground.train(force=True)


def test_every_disease_is_trained_with_its_tail_and_its_weights_have_a_digest(ground, first):
    for disease, run in runs(ground.home, first).items():
        assert run.info.status == "FINISHED"
        assert len(digest(run)) == 64
        assert run.data.metrics["train/steps"] == EPOCHS * 2
        assert run.data.metrics["train/resumed_after"] == 0
        plan = json.loads((Path(first.folder) / disease / "plan.json").read_text())
        assert plan["figures"]["trainable_layers"] == 30
    metrics = run_of(ground.home, first.run_id).data.metrics
    assert metrics["features/rows_computed"] == metrics["features/rows"] > metrics["features/images"]
    assert metrics["features/bfloat16_error"] == 0


def test_the_same_again_has_the_same_weights_and_computes_no_feature(ground, first, again):
    assert again.run_id != first.run_id
    before, now = runs(ground.home, first), runs(ground.home, again)
    for disease in DISEASES:
        assert digest(now[disease]) == digest(before[disease])
        assert now[disease].data.metrics["test/auroc"] == before[disease].data.metrics["test/auroc"]
        assert (
            now[disease].data.metrics["train/resumed_after"] == 0
        )  # a finished training leaves no checkpoint
    metrics = run_of(ground.home, again.run_id).data.metrics
    assert metrics["features/rows_computed"] == 0
    assert metrics["features/rows"] == run_of(ground.home, first.run_id).data.metrics["features/rows"]
    assert all(outcome.features_cached == 1 for outcome in again.outcomes)
    assert list((ground.home / "checkpoints").iterdir()) == []


def test_images_are_mirrored_only_where_left_and_right_do_not_matter(ground, first):
    said = {
        disease: json.loads((Path(first.folder) / disease / "plan.json").read_text())["figures"][
            "augmentation"
        ]
        for disease in DISEASES
    }
    assert {disease: table["horizontal_flip"] for disease, table in said.items()} == {
        "pneumonia": False,
        "arthritis": True,
    }
    without = {disease: {**table, "horizontal_flip": None} for disease, table in said.items()}
    assert without["pneumonia"] == without["arthritis"]
    assert without["arthritis"]["rotation_degrees"] == 20
    variants = [space for space in list_spaces(ground.home / "cache") if "variant" in space.describes]
    kinds = {(space.describes["horizontal_flip"], space.describes["variant"]) for space in variants}
    assert kinds == {(False, 1), (False, 2), (True, 1), (True, 2)}


# ---- a kill


def command(ground: Ground, home: Path) -> list[str]:
    words = ["train", "intensive", "--disease", "arthritis", "--json"]
    places = ["--data", ground.data, "--catalog", ground.catalog, "--home", home]
    return [sys.executable, "-m", "flows.cli", *words, *map(str, places)]


@pytest.fixture
def killed(ground, tmp_path) -> Path:
    """The home of a run that was killed with all its processes as soon as its first epoch was kept."""
    home = tmp_path / "home"
    process = subprocess.Popen(
        command(ground, home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 240
        while not list(home.glob("checkpoints/*/epoch-0001.npz")):
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return home


@pytest.mark.skipif(sys.platform != "linux", reason="a process group is killed as Linux does it")
def test_a_run_that_was_killed_in_its_second_epoch_goes_on_with_the_same_result(ground, first, killed):
    done = subprocess.run(command(ground, killed), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    resumed = run_of(killed, said["diseases"]["arthritis"]["run_id"])
    assert 1 <= resumed.data.metrics["train/resumed_after"] < EPOCHS
    assert resumed.data.metrics["train/steps"] == EPOCHS * 2
    assert digest(resumed) == digest(runs(ground.home, first)["arthritis"])
    history = MlflowClient(default_tracking_uri(killed)).get_metric_history(
        resumed.info.run_id, "epoch/validation_loss"
    )
    assert [point.step for point in history] == list(range(1, EPOCHS + 1))
    assert list((killed / "checkpoints").iterdir()) == []
