"""The flow on drawn phantoms, with a real Prefect server, a real worker and a real MLflow database."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName

from flows.train_all import train_all
from tasks.core.report import DiseasesFailed, Report
from tasks.core.settings import default_tracking_uri
from tests.phantom_data import draw, write_catalog

DISEASES = ("cardiomegaly", "pneumonia", "arthritis")


@dataclass(frozen=True)
class Ground:
    """A data root, a catalog and a home."""

    data: Path
    catalog: Path
    home: Path

    def train(self, **words) -> State[Report]:
        said = {"diseases": list(DISEASES), **words}
        return train_all(
            data=str(self.data), catalog=str(self.catalog), home=str(self.home), return_state=True, **said
        )

    def runs(self, parent: str) -> dict[str, Run]:
        client = MlflowClient(default_tracking_uri(self.home))
        experiment = client.get_experiment_by_name("radtrain")
        found = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
        return {run.data.tags["radtrain.disease"]: run for run in found}

    def run(self, run_id: str) -> Run:
        return MlflowClient(default_tracking_uri(self.home)).get_run(run_id)


@pytest.fixture(scope="module")
def ground(tmp_path_factory, prefect_server, worker) -> Ground:
    folder = tmp_path_factory.mktemp("ground")
    return Ground(
        draw(folder / "data", DISEASES), write_catalog(folder / "catalog", DISEASES), folder / "home"
    )


@pytest.fixture(scope="module")
def broken(ground) -> Report:
    """A run in which a class folder of arthritis has another name."""
    shutil.move(ground.data / "arthritis" / "positive", ground.data / "arthritis" / "postive")
    state = ground.train()
    shutil.move(ground.data / "arthritis" / "postive", ground.data / "arthritis" / "positive")
    assert state.is_failed()
    assert state.message == "2 of 3 diseases completed. arthritis failed: class_folder_missing."
    failed = state.result(raise_on_failure=False)
    assert isinstance(failed, DiseasesFailed)
    return failed.report


@pytest.fixture(scope="module")
def whole(ground, broken) -> Report:
    """The same run after the folder has its name back, with another seed."""
    state = ground.train(seed=1)
    assert state.is_completed(), state.message
    assert state.message == "3 of 3 diseases completed."
    return state.result()


def outcome(report: Report, disease: str):
    return next(found for found in report.outcomes if found.disease == disease)


def test_a_disease_whose_folder_is_missing_fails_alone_and_names_the_mending_line(broken):
    assert {found.disease: found.state for found in broken.outcomes} == {
        "cardiomegaly": "completed",
        "pneumonia": "completed",
        "arthritis": "failed",
    }
    failed = outcome(broken, "arthritis")
    assert failed.reason.startswith("class_folder_missing: A class folder of the source is not there")
    assert "'arthritis/positive' was looked for" in failed.reason
    assert "did you mean 'postive'?" in failed.reason
    assert 'write positive = ["postive"]' in failed.reason
    assert failed.repeat.startswith("radtrain train fast --disease arthritis --data ")
    assert broken.exit_code() == 11


def test_a_failed_disease_has_a_failed_run_beside_the_others(ground, broken):
    runs = ground.runs(broken.run_id)
    assert {name: run.info.status for name, run in runs.items()} == {
        "cardiomegaly": "FINISHED",
        "pneumonia": "FINISHED",
        "arthritis": "FAILED",
    }
    assert runs["arthritis"].data.tags["radtrain.cause"] == "class_folder_missing"
    assert ground.run(broken.run_id).info.status == "FAILED"


def test_features_are_computed_once_whatever_the_seed(whole):
    assert outcome(whole, "cardiomegaly").features_cached == 1.0
    assert outcome(whole, "pneumonia").features_cached == 1.0
    assert outcome(whole, "arthritis").features_cached == 0.0


def test_every_figure_has_its_count_and_interval(whole):
    for found in whole.outcomes:
        assert found.counts["train"] + found.counts["validation"] + found.counts["test"] == 80
        assert found.test["auroc"].n == found.counts["test"]
        for estimate in found.test.values():
            if estimate.low is not None:
                assert estimate.low <= estimate.value <= estimate.high


def test_the_report_prints_as_json_with_the_promised_keys(whole):
    said = json.loads(json.dumps(whole.to_json()))
    assert {"run_id", "seconds", "diseases"} <= set(said)
    assert {"state", "reason", "n_train", "n_val", "n_test", "test", "seconds", "features_cached"} <= set(
        said["diseases"]["pneumonia"]
    )
    assert said["exit_code"] == 0


def test_mlflow_holds_the_plan_the_epochs_the_test_metrics_and_the_pictures(ground, whole):
    client = MlflowClient(default_tracking_uri(ground.home))
    parent = client.get_run(whole.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["figures.learning_rate"] == "0.002"
    assert parent.data.metrics["diseases_completed"] == 3
    assert parent.data.metrics["features/images_computed"] == 80
    assert parent.data.metrics["features/peak_memory_mib"] > 100
    run = ground.runs(whole.run_id)["pneumonia"]
    found = outcome(whole, "pneumonia")
    plan = json.loads((Path(whole.folder) / "pneumonia" / "plan.json").read_text())
    assert run.data.params["figures.batch_size"] == str(plan["figures"]["batch_size"]) == "64"
    assert run.data.params["manifest_digest"] == plan["manifest_digest"] == found.manifest
    assert run.data.params["seed"] == "1"
    assert run.data.metrics["test/auroc"] == found.test["auroc"].value
    assert run.data.metrics["test/auroc_low"] == found.test["auroc"].low
    assert run.data.metrics["train/images_per_s"] > 0
    assert len(client.get_metric_history(run.info.run_id, "epoch/validation_loss")) == 3
    assert run.inputs.dataset_inputs[0].dataset.digest == found.manifest[:36]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "plan.json",
        "history.json",
        "evaluation.json",
        "evaluation.png",
        "card.md",
    }


def test_the_logged_model_takes_raw_pixels_and_gives_the_scores_that_were_evaluated(
    ground, whole, monkeypatch
):
    from mlflow import pyfunc

    from data_checks.images.image_facts import decode
    from tasks.core.pixels import shrink

    monkeypatch.setenv("MLFLOW_TRACKING_URI", default_tracking_uri(ground.home))
    run = ground.runs(whole.run_id)["cardiomegaly"]
    model = pyfunc.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
    assert model.metadata.metadata["not_for_diagnosis"] is True
    scores = pq.read_table(Path(whole.folder) / "cardiomegaly" / "scores.parquet").to_pydict()
    manifest = next((ground.home / "manifests").glob("cardiomegaly-*.parquet"))
    paths = dict(zip(*(pq.read_table(manifest)[name].to_pylist() for name in ("image", "path")), strict=True))
    squares = [
        shrink(decode((ground.data / paths[image]).read_bytes(), max_pixels=10**7), 96)
        for image in scores["image"]
    ]
    pixels = np.repeat(np.stack(squares)[..., None], 3, axis=-1).astype(np.float32)
    np.testing.assert_allclose(np.ravel(model.predict(pixels)), scores["score"], atol=1e-5)


def test_no_patient_and_no_file_name_reaches_mlflow(ground, whole):
    client = MlflowClient(default_tracking_uri(ground.home))
    for run in (*ground.runs(whole.run_id).values(), ground.run(whole.run_id)):
        said = json.dumps(
            [run.data.params, run.data.tags, [d.dataset.profile for d in run.inputs.dataset_inputs]]
        )
        for file in client.list_artifacts(run.info.run_id):
            if file.path.endswith((".json", ".md")):
                said += Path(client.download_artifacts(run.info.run_id, file.path)).read_text()
        assert "_v1" not in said
        assert ".png" not in said.replace("evaluation.png", "")
        assert str(ground.data) not in said
        assert str(ground.home) not in said


def test_the_flow_run_is_named_by_profile_and_date_and_every_disease_has_its_tasks(whole):
    with get_client(sync_client=True) as client:
        named = FlowFilter(name=FlowFilterName(any_=["train-all"]))
        runs = client.read_flow_runs(flow_filter=named)
        assert any(re.fullmatch(r"fast 20\d\d-\d\d-\d\d \d\d:\d\d", run.name) for run in runs)
        names = {task.name for task in client.read_task_runs()}
    for disease in DISEASES:
        assert {f"train {disease}", f"evaluate {disease}", f"record {disease}"} <= names


def test_an_error_before_any_training_fails_the_flow_with_that_error(ground):
    state = ground.train(profile="fats")
    assert state.is_failed()
    with pytest.raises(Exception, match="Did you mean 'fast'"):
        state.result()


def test_a_run_that_breaks_off_leaves_no_run_open_in_mlflow(ground, whole, tmp_path):
    manifests = ground.home / "manifests"
    aside = tmp_path / "manifests"
    shutil.move(manifests, aside)
    manifests.write_text("a file where a folder is needed")
    try:
        state = ground.train()
    finally:
        manifests.unlink()
        shutil.move(aside, manifests)
    assert state.is_failed()
    with pytest.raises(Exception, match="radtrain cannot write to its home folder"):
        state.result()
    client = MlflowClient(default_tracking_uri(ground.home))
    experiment = client.get_experiment_by_name("radtrain")
    assert not client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
