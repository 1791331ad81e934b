"""The flow `speed-ablation` and `radtrain ablate` on drawn phantoms: every arm in a process of its own, in a real server."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows import cli
from flows.ablation_view import show_ablation
from flows.speed_ablation import speed_ablation
from tasks.core.ablation import Ablation
from tasks.core.catalog import SHIPPED
from tasks.core.levers import LEVERS
from tasks.core.settings import default_tracking_uri
from tests.phantom_data import draw, write_catalog

DISEASES = ("cardiomegaly", "pneumonia")
#: Two recipes that differ in as little as a test needs: each distinct one costs the start of a process.
PROFILES = f"""
[profiles.fast]
weights = "{SHIPPED / "weights" / "mobilenet_v2_0.75_phantoms.npz"}"
image_side = 32
batch_size = 8
epochs = 3
steps_per_epoch = 50

[profiles.fast.augmentation]
rotation_degrees = 5.0

[profiles.intensive]
backbone = "MobileNetV2"
alpha = 0.75
weights = "{SHIPPED / "weights" / "mobilenet_v2_0.75_phantoms.npz"}"
image_side = 32
trainable_layers = 0
precision = "float32"
dense_units = 64
dropout = 0.3
batch_size = 8
learning_rate = 0.002
validation_steps = 10
augmentation_variants = 0
"""


@dataclass(frozen=True)
class Ground:
    """A data root, a catalog and a home."""

    data: Path
    catalog: Path
    home: Path

    def ablate(self, **words) -> State[Ablation]:
        places = {"data": str(self.data), "catalog": str(self.catalog), "home": str(self.home)}
        return speed_ablation(**places, return_state=True, **words)

    def runs(self, parent: str) -> dict[str, Run]:
        client = MlflowClient(default_tracking_uri(self.home))
        experiment = client.get_experiment_by_name("radtrain")
        found = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
        return {run.info.run_name: run for run in found}


@pytest.fixture(scope="module")
def ground(tmp_path_factory, prefect_server, worker) -> Ground:
    folder = tmp_path_factory.mktemp("ablation")
    draw(folder / "data", DISEASES, patients=30, side=64)
    catalog = write_catalog(folder / "catalog", DISEASES, profile=PROFILES)
    return Ground(folder / "data", catalog, folder / "home")


@pytest.fixture(scope="module")
def measured(ground) -> Ablation:
    state = ground.ablate(disease="pneumonia", quick=True)
    assert state.is_completed(), state.message
    return state.result()


def test_every_arm_is_timed_and_only_what_differs_is_run(measured):
    runs = {one.shared_with or key for key, one in measured.arms.items()}
    assert runs == {"intensive", "alone-augmentation"}
    for key, one in measured.arms.items():
        times = 3 if (one.shared_with or key) == "intensive" else 1  # what all else is measured against
        assert one.typical.steps == times * 7  # two epochs of four, but for the first step
        assert one.typical.epochs == times
        assert 0 < one.typical.step_s < one.typical.epoch_s <= one.typical.fit_s
        assert one.typical.parameters == 1_464_113
        assert one.typical.peak_bytes > one.typical.imported_bytes > 100 * 2**20


def test_the_auroc_is_of_validation_rows_with_interval_and_n(measured):
    for one in measured.arms.values():
        assert one.auroc is not None
        assert one.auroc.n == measured.ground.n_validation
        assert 0 <= one.auroc.value <= 1


def test_mlflow_has_a_run_for_each_arm_below_the_one_of_the_ablation(ground, measured):
    client = MlflowClient(default_tracking_uri(ground.home))
    parent = client.get_run(measured.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "speed-ablation"
    assert parent.data.metrics["claimed/epochs"] == 1.7
    assert parent.data.metrics["measured/epochs"] == pytest.approx(5 / 3)
    runs = ground.runs(measured.run_id)
    assert set(runs) == set(measured.arms)
    for key, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.tags["radtrain.not_for_diagnosis"] == "true"
        assert run.data.metrics["ablation/step_s"] == measured.arms[key].typical.step_s
        assert run.data.metrics["validation/auroc_n"] == measured.ground.n_validation
    assert runs["alone-epochs"].data.params["figures.epochs"] == "3"
    assert runs["alone-epochs"].data.params["shared_with"] == "intensive"


def test_no_place_of_this_machine_reaches_mlflow(ground, measured):
    client = MlflowClient(default_tracking_uri(ground.home))
    for run in (*ground.runs(measured.run_id).values(), client.get_run(measured.run_id)):
        said = json.dumps([run.data.params, run.data.tags])
        for file in client.list_artifacts(run.info.run_id):
            said += Path(client.download_artifacts(run.info.run_id, file.path)).read_text()
        assert str(ground.home) not in said
        assert str(SHIPPED) not in said
        assert ".png" not in said


def test_prefect_shows_the_table_with_a_row_for_each_lever(measured):
    with get_client(sync_client=True) as client:
        key = ArtifactFilter(key=ArtifactFilterKey(any_=["speed-ablation"]))
        artifact = client.read_artifacts(artifact_filter=key)[0]
        names = {task.name for task in client.read_task_runs()}
    rows = json.loads(artifact.data)
    assert [row["lever"] for row in rows] == [lever.title for lever in LEVERS]
    assert {"claimed", "measured", "claimed so far", "measured so far"} <= set(rows[0])
    assert {"measure intensive, pass 1", "measure alone-augmentation, pass 1"} <= names


def test_the_folder_of_features_is_gone_and_the_file_of_the_run_stays(ground, measured):
    assert not list(ground.home.glob("ablation-*"))
    said = json.loads((ground.home / "runs" / measured.run_id / "ablation.json").read_text())
    assert said == measured.to_json()


def test_the_terminal_shows_claim_and_measurement_and_says_that_a_quick_look_is_rough(measured, capsys):
    show_ablation(measured, folder="/place", tracking_uri="sqlite:///x")
    out = capsys.readouterr().out
    assert "claimed" in out
    assert "measured" in out
    assert "these figures are rough" in out
    assert "Not for diagnosis" in out
    assert "so-far-freezing" in out
    assert f"run {measured.run_id}" in out


def test_a_disease_with_too_few_images_is_refused_before_anything_is_measured(ground):
    state = ground.ablate(disease="pneumonia", quick=True, overrides={"batch_size": 64})
    assert state.is_failed()
    with pytest.raises(Exception, match="at least two full batches of 64"):
        state.result()
    client = MlflowClient(default_tracking_uri(ground.home))
    experiment = client.get_experiment_by_name("radtrain")
    assert not client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")


def test_a_disease_whose_data_is_not_sound_is_refused_with_what_is_the_matter(ground):
    aside = ground.data / "cardiomegaly" / "postive"
    shutil.move(ground.data / "cardiomegaly" / "positive", aside)
    try:
        state = ground.ablate(disease="cardiomegaly", quick=True)
    finally:
        shutil.move(aside, ground.data / "cardiomegaly" / "positive")
    assert state.is_failed()
    with pytest.raises(Exception, match="cardiomegaly: class_folder_missing"):
        state.result()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--disease", "pnuemonia"], 10, "Did you mean 'pneumonia'?"),
        (["--set", "epohcs=3"], 10, "Did you mean 'epochs'?"),
        (["--data", "/nowhere"], 12, "The data root is not a folder."),
        (["--catalog", "/nowhere"], 10, "The catalog folder is not there."),
    ],
)
def test_a_wrong_word_is_answered_at_once(words, code, said, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))  # `main` silences libraries in it
    assert cli.main(["ablate", *words]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--steps", "0"], ["--epochs", "none"]])
def test_no_steps_are_no_number_of_steps(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["ablate", *words])
    assert "expected a whole number from 1" in capsys.readouterr().err
