"""The flow `sweep` and `radtrain sweep` on drawn phantoms, with a real server, a real worker and a real MLflow database."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.cli import main
from flows.commands.options import setting
from flows.show_sweep import show_sweep
from flows.sweep import sweep
from flows.train_all import train_all
from tasks.compute import score
from tasks.core.metrics import auroc
from tasks.core.report import Outcome
from tasks.core.search import Searched
from tasks.core.settings import default_tracking_uri
from tasks.core.sweep_report import SweepFailed, SweepReport
from tasks.feature_spaces import BackboneKey, FeatureSpaces
from tasks.files import read_json
from tasks.store import read_rows
from tests import small_network
from tests.phantom_data import draw, write_catalog

DISEASES = ("cardiomegaly", "arthritis")
TRIALS = 8
_PROFILE = """
[profiles.fast]
alpha = 0.35
weights = "small.npz"
image_side = 64
"""


@dataclass(frozen=True)
class Ground:
    """A data root in which a folder of arthritis has another name, a catalog and a home; and what a sweep gave."""

    places: dict[str, str]
    report: SweepReport
    message: str

    @property
    def home(self) -> Path:
        return Path(self.places["home"])

    @property
    def best(self) -> Searched:
        return self.report.searched()[0]

    def runs(self, parent: str) -> list[Run]:
        client = MlflowClient(default_tracking_uri(self.home))
        experiment = client.get_experiment_by_name("radtrain")
        found = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
        return list(found)

    def run(self, run_id: str) -> Run:
        return MlflowClient(default_tracking_uri(self.home)).get_run(run_id)


@pytest.fixture(scope="module")
def ground(tmp_path_factory, prefect_server, worker) -> Ground:
    folder = tmp_path_factory.mktemp("sweep")
    data = draw(folder / "data", DISEASES, patients=60, side=96)
    shutil.move(data / "arthritis" / "positive", data / "arthritis" / "postive")
    catalog = write_catalog(folder / "catalog", DISEASES, profile=_PROFILE)
    small_network.write_weights(catalog / "small.npz")
    places = {
        "data": str(data),
        "catalog": str(catalog),
        "home": str(folder / "home"),
    }
    state = sweep("fast", list(DISEASES), TRIALS, return_state=True, **places)
    assert state.is_failed(), state.message
    failed = state.result(raise_on_failure=False)
    assert isinstance(failed, SweepFailed)
    return Ground(places, failed.report, str(state.message))


# ---- what it gives


def test_a_disease_that_fails_is_named_with_the_command_that_repeats_it_and_stops_no_other(ground):
    assert ground.message == "1 of 2 diseases completed. arthritis failed: class_folder_missing."
    assert [type(result) for result in ground.report.results] == [Searched, Outcome]
    failed = ground.report.failed()[0]
    assert failed.repeat.startswith("radtrain sweep fast --disease arthritis --data ")
    assert failed.repeat.endswith(f" --trials {TRIALS}")
    assert ground.report.exit_code() == 11


def test_both_contenders_have_figures_with_counts_and_intervals_in_the_search_and_on_validation_rows(ground):
    best = ground.best
    assert len(best.trials) == TRIALS
    for estimate in (best.own_validation, best.best_validation):
        assert estimate.n == best.paired.n > 5
        assert estimate.low <= estimate.value <= estimate.high
    assert best.own.low < best.own.auroc <= best.best.auroc
    assert best.paired.difference == pytest.approx(best.best_validation.value - best.own_validation.value)


def test_the_command_that_it_gives_trains_a_model_with_the_figure_that_it_says(ground, worker):
    """The figure of the winner is no figure of the search alone: `radtrain train --set ...` has it too."""
    best = ground.best
    words = shlex.split(best.command)
    overrides = dict(setting(word) for option, word in itertools.pairwise(words) if option == "--set")
    assert [f"{name}={value}" for name, value in overrides.items()] == list(best.options)
    assert overrides, "with these phantoms and this seed a trial is better than the profile as it is"
    assert best.best_validation.value != best.own_validation.value
    state = train_all("fast", ["cardiomegaly"], overrides=overrides, return_state=True, **ground.places)
    assert state.is_completed(), state.message
    folder = Path(state.result().folder) / "cardiomegaly"
    plan, history = read_json(folder / "plan.json"), read_json(folder / "history.json")
    assert plan["manifest_digest"] == best.manifest
    assert {name: plan["figures"][name] for name in best.best.figures} == dict(best.best.figures)
    assert max(epoch["validation_auroc"] for epoch in history) == best.best_validation.value
    rows = read_rows(next((ground.home / "manifests").glob("cardiomegaly-*.parquet")), "validation")
    scores, _ = worker.ask(score, folder, _spaces(ground), rows.images)
    assert float(auroc(rows.labels, scores, np.ones((1, len(scores))))[0]) == best.best_validation.value


def _spaces(ground: Ground) -> FeatureSpaces:
    """Return the spaces of the profile, as a run plans them."""
    from tasks.core.settings import read_settings
    from tasks.plan_run import Request, plan_run
    from tasks.worker import start_worker

    settings = read_settings({}, **{name: ground.places[name] for name in ("data", "home", "catalog")})
    with start_worker() as running:
        work = plan_run(Request("fast", ("cardiomegaly",), 0, ()), settings, running)
    assert isinstance(work.backbone, BackboneKey)
    return work.spaces("cardiomegaly")


def test_features_of_test_images_are_not_even_computed(ground):
    run = ground.run(ground.report.run_id)
    manifest = next((ground.home / "manifests").glob("cardiomegaly-*.parquet"))
    counts = {split: len(read_rows(manifest, split).images) for split in ("train", "validation", "test")}
    assert run.data.metrics["features/images"] == counts["train"] + counts["validation"]
    assert counts["test"] > 0


# ---- where it is recorded


def test_mlflow_holds_a_run_for_the_sweep_one_for_each_disease_and_one_for_each_trial(ground):
    best = ground.best
    sweep_run = ground.run(ground.report.run_id)
    assert (sweep_run.info.run_name, sweep_run.info.status) == ("sweep/fast", "FAILED")
    assert sweep_run.data.params["space.dense_units"] == "32, 64, 128"
    assert sweep_run.data.params["figures.epochs"] == "3"
    assert sweep_run.data.metrics["sweep/difference/cardiomegaly"] == best.paired.difference
    diseases = {run.info.run_name: run for run in ground.runs(ground.report.run_id)}
    assert {name: run.info.status for name, run in diseases.items()} == {
        "cardiomegaly": "FINISHED",
        "arthritis": "FAILED",
    }
    assert diseases["arthritis"].data.tags["radtrain.cause"] == "class_folder_missing"
    one = diseases["cardiomegaly"]
    assert one.data.metrics["validation/auroc"] == best.best_validation.value
    assert one.data.metrics["validation/own_auroc"] == best.own_validation.value
    assert one.data.metrics["sweep/trials"] == TRIALS
    assert one.data.params["set"] == " ".join(best.options)
    trials = {run.info.run_name: run for run in ground.runs(one.info.run_id)}
    assert set(trials) == {"as it is", *(f"trial {number}" for number in range(1, TRIALS))}
    statuses = {"completed": "FINISHED", "pruned": "KILLED", "diverged": "FAILED"}
    for trial in best.trials:
        run = trials["as it is" if trial.number == 0 else f"trial {trial.number}"]
        assert run.info.status == statuses[trial.state]
        assert run.data.metrics["sweep/auroc"] == trial.auroc
        assert run.data.metrics["sweep/n"] == trial.n
        assert run.data.params == {f"figures.{name}": str(value) for name, value in trial.figures.items()}
        assert run.data.tags["radtrain.manifest"] == best.manifest
        assert run.info.end_time - run.info.start_time == int(trial.duration_s * 1000)


def test_no_run_of_a_sweep_passes_for_a_training_and_each_says_what_it_is_not_for(ground):
    """Comparisons and teachers look for runs by `radtrain.profile`."""
    runs = [ground.run(ground.report.run_id), *ground.runs(ground.report.run_id)]
    runs += [run for parent in runs[1:] for run in ground.runs(parent.info.run_id)]
    assert len(runs) == 3 + TRIALS
    for run in runs:
        assert "radtrain.profile" not in run.data.tags
        assert run.data.tags["radtrain.sweep"] == "fast"
        assert run.data.tags["radtrain.not_for_diagnosis"] == "true"
        said = json.dumps([run.data.params, run.data.tags])
        assert "_v1" not in said
        assert str(ground.home.parent) not in said


def test_prefect_shows_the_winners_as_a_table(ground):
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["sweep"]))
        found = client.read_artifacts(artifact_filter=wanted)
    rows = json.loads(found[0].data)
    assert {row["disease"]: row["decision"] for row in rows} == {
        "cardiomegaly": ground.best.decision,
        "arthritis": "failed: class_folder_missing",
    }
    assert "Not for diagnosis." in found[0].description


def test_the_folder_of_the_run_holds_every_trial_and_no_model_that_nobody_evaluated(ground):
    folder = Path(ground.report.folder)
    said = read_json(folder / "cardiomegaly" / "sweep.json")
    assert [trial["number"] for trial in said["all_trials"]] == list(range(TRIALS))
    assert [path.name for path in (folder / "cardiomegaly").iterdir()] == ["sweep.json"]
    assert read_json(folder / "report.json") == ground.report.to_json()


# ---- what a person sees


def test_the_terminal_shows_figures_verdict_and_command(ground, capsys):
    show_sweep(ground.report)
    said = capsys.readouterr().out
    assert "sweep/fast: AUROC on validation rows, 95 % intervals by patient. Not for diagnosis." in said
    assert f"cardiomegaly: {ground.best.sentence()}" in said
    assert f"train with it: {ground.best.command}" in said
    assert "arthritis failed. class_folder_missing" in said
    assert "…" not in said


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["intensive", "--set", "augmentation_variants=0"], "augments its images while it trains"),
        (["distilled"], "learns from the scores of 'intensive'"),
        (["fats"], "Did you mean 'fast'"),
        (["fast", *["--set", "dense_units=8", "--set", "dropout=0", "--set", "learning_rate=0.01"]], None),
    ],
)
def test_what_cannot_be_searched_is_said_at_once(ground, capsys, words, what):
    if what is None:
        words += ["--set", "learning_rate_schedule=cosine", "--set", "class_weights=none"]
        what = "Nothing is left to search"
    assert main(["sweep", *words, "--data", ground.places["data"], "--home", ground.places["home"]]) == 10
    assert what in capsys.readouterr().err


def test_one_trial_is_no_search(ground, capsys):
    with pytest.raises(SystemExit):
        main(["sweep", "fast", "--trials", "1", "--data", ground.places["data"]])
    assert "expected a whole number from 2 to 10000" in capsys.readouterr().err
