"""`radtrain compare` and its flow, on two profiles that were trained on drawn phantoms: with every engine real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import get_current_settings

from flows.cli import main
from flows.compare_profiles import compare_profiles
from flows.show_comparison import show_comparison
from flows.train_all import train_all
from tasks.core.settings import default_tracking_uri
from tasks.publish_comparison import Published
from tests.phantom_data import draw, write_catalog

DISEASES = ["cardiomegaly", "pneumonia"]
_FIGURES = """
backbone = "MobileNetV2"
alpha = 0.35
weights = "random"
image_side = {side}
trainable_layers = {layers}
dense_units = 8
dropout = 0.1
batch_size = 16
epochs = 2
steps_per_epoch = 5
validation_steps = 5
learning_rate = 0.002
"""
PROFILES = "".join(
    f"[profiles.{key}]{_FIGURES.format(side=side, layers=layers)}"
    for key, side, layers in (("quick", 64, 0), ("slow", 96, 4))
)


def radtrain(*words: object, **environment: str) -> tuple[int, str, str]:
    """Run the command and return exit code, stdout and stderr."""
    command = [sys.executable, "-m", "flows.cli", *map(str, words)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | environment)
    return run.returncode, run.stdout, run.stderr


@dataclass(frozen=True)
class Ground:
    folder: Path
    home: Path
    published: Published

    def compare(self, first: str = "quick", second: str = "slow", **words):
        return compare_profiles(first, second, home=str(self.home), return_state=True, **words)


@pytest.fixture(scope="module")
def ground(tmp_path_factory, prefect_server, worker) -> Ground:
    """Both profiles on the first disease, one on the second; and their comparison."""
    folder = tmp_path_factory.mktemp("compare")
    draw(folder / "data", DISEASES, patients=80, side=64)
    places = {
        "data": str(folder / "data"),
        "catalog": str(write_catalog(folder / "catalog", DISEASES, profile=PROFILES)),
        "home": str(folder / "home"),
    }
    for profile, diseases in (("quick", DISEASES), ("slow", DISEASES[:1])):
        state = train_all(profile, diseases, return_state=True, **places)
        assert state.is_completed(), state.message
    state = compare_profiles(
        "quick", "slow", home=places["home"], html=str(folder / "asked.html"), return_state=True
    )
    assert state.is_completed(), state.message
    assert "pneumonia: not compared" in state.message
    return Ground(folder, folder / "home", state.result())


@pytest.fixture
def client(ground) -> MlflowClient:
    return MlflowClient(default_tracking_uri(ground.home))


def artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    return {file.path for file in client.list_artifacts(run_id, folder)}


def test_each_disease_has_its_verdict_its_figures_or_its_reason(ground):
    said = json.loads(json.dumps(ground.published.to_json()))
    assert list(said["diseases"]) == DISEASES
    whole, lone = said["diseases"]["cardiomegaly"], said["diseases"]["pneumonia"]
    assert whole["n_test"] > 10
    assert whole["verdict"].endswith(".")
    assert whole["interval"][0] <= whole["difference"] <= whole["interval"][1]
    assert 0 <= whole["p_value"] <= 1
    assert lone["reason"].startswith("slow was never trained on it")
    assert lone["difference"] is None
    assert said["not_for_diagnosis"] is True


def test_every_cost_of_both_profiles_was_measured(ground):
    costs = ground.published.comparison.to_json()["diseases"]["cardiomegaly"]["costs"]
    for cost in costs.values():
        assert all(isinstance(value, int | float) and value > 0 for value in cost.values()), cost
    assert costs["slow"]["trainable_parameters"] > costs["quick"]["trainable_parameters"]


def test_the_comparison_is_a_run_of_its_own_with_metrics_table_figures_and_page(ground, client):
    run = client.get_run(ground.published.run_id)
    assert (run.info.run_name, run.info.status) == ("compare/quick-slow", "FINISHED")
    assert run.data.tags["radtrain.comparison"] == "quick-slow"
    assert run.data.tags["radtrain.not_for_diagnosis"] == "true"
    assert "radtrain.profile" not in run.data.tags
    assert run.data.params == {"first": "quick", "second": "slow", "diseases": "cardiomegaly, pneumonia"}
    one = ground.published.comparison.diseases[0]
    metrics = run.data.metrics
    assert metrics["compare/cardiomegaly/difference"] == one.paired.difference
    assert metrics["compare/cardiomegaly/p_holm"] == one.p_holm
    assert metrics["compare/cardiomegaly/slow/training_s"] == one.sides[1].cost.training_s
    assert metrics["compare/cardiomegaly/quick/auroc"] == one.sides[0].auroc
    assert not any(name.startswith("compare/pneumonia") for name in metrics)
    assert artifacts(client, run.info.run_id) == {
        "comparison.json",
        "comparison.html",
        "comparison_table.json",
        "figures",
    }
    assert artifacts(client, run.info.run_id, "figures") == {
        "figures/roc-cardiomegaly.png",
        "figures/price.png",
    }


def test_no_picture_of_an_image_no_patient_and_no_path_reaches_mlflow(ground, client, tmp_path):
    run = client.get_run(ground.published.run_id)
    said = json.dumps([run.data.params, run.data.tags])
    for name in ("comparison.json", "comparison.html", "comparison_table.json"):
        said += Path(client.download_artifacts(run.info.run_id, name, str(tmp_path))).read_text()
    assert "data:image/png" not in said
    assert "_v1" not in said
    assert str(ground.folder) not in said


def test_the_page_that_was_asked_for_has_the_pictures(ground):
    assert ground.published.page == ground.folder / "asked.html"
    text = ground.published.page.read_text()
    assert text.count("data:image/png") >= 3
    assert "Not for diagnosis" in text
    shown = (ground.home / "comparisons" / ground.published.run_id).rglob("*.html")
    assert [page.parent.name for page in shown] == ["tracked"]


def test_the_link_names_the_runs_that_were_compared(ground, client):
    one = ground.published.comparison.diseases[0]
    run_ids = [run_id for side in one.sides for run_id in side.run_ids]
    assert all(run_id in ground.published.link for run_id in run_ids)
    assert [client.get_run(run_id).data.tags["radtrain.profile"] for run_id in run_ids] == ["quick", "slow"]


def test_prefect_shows_the_verdicts_and_the_links(ground):
    with get_client(sync_client=True) as prefect:

        def newest(key: str):
            wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
            return max(prefect.read_artifacts(artifact_filter=wanted), key=lambda found: found.created)

        rows = json.loads(newest("comparison").data)
        assert [row["disease"] for row in rows] == DISEASES
        assert rows[0]["verdict"]
        assert rows[0]["champion"].endswith(", new")
        assert rows[1]["champion"] == ""
        assert "compare-runs" in newest("compared-runs").data
        assert ground.home.name not in newest("comparison").data


def test_the_champion_is_in_mlflows_registry_and_stands_when_compared_again(ground, client):
    (named,) = ground.published.champions
    one = ground.published.comparison.diseases[0]
    assert (named.disease, named.is_new, named.before) == ("cardiomegaly", True, "")
    assert named.run_id in {side.run_ids[0] for side in one.sides}
    version = client.get_model_version_by_alias("radtrain-cardiomegaly", "champion")
    assert (version.run_id, str(version.version)) == (named.run_id, named.version)
    assert version.tags["radtrain.verdict"] == one.verdict
    assert version.tags["radtrain.not_for_diagnosis"] == "true"
    (again,) = ground.compare(diseases=["cardiomegaly"]).result().champions
    assert (again.run_id, again.version, again.is_new) == (named.run_id, named.version, False)


def test_a_person_sees_a_table_the_verdicts_and_where_to_look_further(ground, capsys):
    show_comparison(ground.published)
    out = capsys.readouterr().out
    assert "quick against slow: test rows, 95 % intervals by patient. Not for diagnosis." in out
    assert "cardiomegaly: " in out
    assert "pneumonia: not compared: slow was never trained on it" in out
    assert "Each profile was trained with one seed" in out
    assert "cardiomegaly: the champion is now " in out
    assert f"page   {ground.folder / 'asked.html'}" in out
    assert "mlflow http://127.0.0.1:5000/#/compare-runs?" in out


def test_nothing_to_compare_fails_the_flow_and_leaves_no_run(ground, client):
    experiment = client.get_experiment_by_name("radtrain").experiment_id
    before = len(client.search_runs([experiment]))
    state = ground.compare(diseases=["pneumonia"])
    assert state.is_failed()
    with pytest.raises(Exception, match="quick and slow cannot be compared on any disease"):
        state.result()
    assert len(client.search_runs([experiment])) == before


def test_a_page_that_cannot_be_written_fails_the_run_and_says_so(ground, client):
    state = ground.compare(html=str(ground.folder))
    assert state.is_failed()
    with pytest.raises(Exception, match="The page of the comparison cannot be written"):
        state.result()
    experiment = client.get_experiment_by_name("radtrain").experiment_id
    assert not client.search_runs([experiment], "attributes.status = 'RUNNING'")


def test_the_command_prints_one_object_as_its_last_line(ground, capsys, monkeypatch):
    """In this process, with the server and the worker of the other tests, so that nothing is started anew."""
    monkeypatch.setenv("PREFECT_API_URL", str(get_current_settings().api.url))
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    code = main(["compare", "quick", "slow", "--home", str(ground.home), "--json"])
    out = capsys.readouterr().out
    assert code == 0
    said = json.loads(out.splitlines()[-1])
    assert said["diseases"]["cardiomegaly"]["n_test"] == ground.published.comparison.diseases[0].paired.n
    assert said["page"] == str(ground.home / "comparisons" / said["run_id"] / "comparison.html")
    assert Path(said["page"]).is_file()
    assert said["seconds"] > 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("quick", "quick"), 17, "A profile is to be compared with itself."),
        (("quick", "Slow"), 17, "not the key of a profile or disease"),
        (("quick", "slow", "--html", "{folder}"), 15, "received: a folder"),
        (
            ("quick", "slow", "--html", "{folder}/none/a.html"),
            15,
            "received: a file in a folder that is not there",
        ),
        (("quick",), 2, "SECOND"),
    ],
)
def test_a_wrong_word_is_answered_before_anything_is_started(tmp_path, words, code, said):
    home = tmp_path / "home"
    words = [word.format(folder=tmp_path) for word in words]
    ended, out, error = radtrain("compare", *words, "--home", home)
    assert ended == code
    assert said in error
    assert (out, home.exists()) == ("", False)
    assert "Traceback" not in error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_may_not_be_written_is_told_before_anything_is_started(tmp_path):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o500)
    code, _, error = radtrain(
        "compare", "quick", "slow", "--html", shut / "a.html", "--home", tmp_path / "home"
    )
    shutil.rmtree(shut)
    assert (code, "a place that you may not write" in error) == (15, True)
