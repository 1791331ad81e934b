"""What is asked of MLflow: runs by tag and parameter, links to its pages, tables, models; on a real SQLite database."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest

from tasks.core.settings import default_tracking_uri
from tasks.model_folder import load_model
from tasks.tracking import Tracker, open_tracker


@pytest.fixture(scope="module")
def tracker(tmp_path_factory) -> Tracker:
    home = tmp_path_factory.mktemp("home")
    return open_tracker(default_tracking_uri(home), home / "mlartifacts")


@pytest.fixture(scope="module")
def runs(tracker) -> list[str]:
    """Seven runs of one profile, four of them with the parameter seed 1; one of another profile."""
    made = []
    for number in range(7):
        run_id = tracker.start_run(
            str(number), tags={"radtrain.profile": "fast"}, parent="parent" if number else None
        )
        tracker.log(
            run_id, params={"seed": number % 2, "figures.alpha": 0.35}, metrics={"train/fit_s": number}
        )
        tracker.end_run(run_id, completed=number != 6)
        made.append(run_id)
    tracker.start_run("other", tags={"radtrain.profile": "other"})
    return made


def test_runs_come_newest_first_page_after_page(tracker, runs, monkeypatch):
    monkeypatch.setattr("tasks.tracking._PAGE", 2)
    found = list(tracker.search_runs(tags={"radtrain.profile": "fast"}))
    assert [run.run_id for run in found] == runs[::-1]
    assert [run.metrics["train/fit_s"] for run in found] == [6, 5, 4, 3, 2, 1, 0]
    assert (found[0].status, found[1].status) == ("FAILED", "FINISHED")
    assert (found[0].parent, found[-1].parent) == ("parent", None)
    assert found[0].started >= found[-1].started > 1_600_000_000_000


def test_only_the_pages_that_are_wanted_are_asked_for(tracker, runs, monkeypatch):
    monkeypatch.setattr("tasks.tracking._PAGE", 2)
    asked = []
    search = tracker.client.search_runs
    monkeypatch.setattr(
        tracker.client,
        "search_runs",
        lambda *args, **words: asked.append(words["page_token"]) or search(*args, **words),
    )
    assert next(tracker.search_runs(tags={"radtrain.profile": "fast"})).run_id == runs[-1]
    assert asked == [None]


def test_tags_and_parameters_must_all_agree(tracker, runs):
    params = {"seed": "1", "figures.alpha": "0.35"}
    found = tracker.search_runs(tags={"radtrain.profile": "fast"}, params=params)
    assert [run.run_id for run in found] == [runs[5], runs[3], runs[1]]
    assert list(tracker.search_runs(params={"seed": "9"})) == []
    assert len(list(tracker.search_runs())) == 8


def test_a_value_that_a_filter_cannot_say_is_refused(tracker):
    with pytest.raises(ValueError, match="without a quotation mark"):
        next(tracker.search_runs(tags={"radtrain.profile": "fa'st"}))


def test_the_link_to_a_comparison_names_these_runs_and_holds_nothing_that_a_terminal_would_cut(tracker):
    link = tracker.compare_link(["a1", "b2"])
    place, _, query = link.partition("?")
    assert place == "http://127.0.0.1:5000/#/compare-runs"
    said = {key: value[0] for key, value in parse_qs(query, strict_parsing=True).items()}
    assert json.loads(said["runs"]) == ["a1", "b2"]
    assert json.loads(said["experiments"]) == [tracker.experiment_id]
    assert said["workflowType"] == "machine_learning"
    assert not set(link) & set("\"'[]{}<> ")


def test_links_lead_to_the_server_that_records_without_its_password():
    tracker = Tracker("https://user:secret@mlflow.example/", None, "7")  # type: ignore[arg-type]
    assert tracker.compare_link(["a"]).startswith("https://mlflow.example/#/compare-runs?runs=")
    assert tracker.link("a") == "https://mlflow.example/#/experiments/7/runs/a?workflowType=machine_learning"
    assert tracker.link("a", "card.md") == (
        "https://mlflow.example/#/experiments/7/runs/a/artifacts/card.md?workflowType=machine_learning"
    )


def test_a_table_is_kept_as_mlflow_shows_it(tracker, monkeypatch):
    # Loading looks there, whatever the client was told.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    run_id = tracker.start_run("table", tags={})
    tracker.log_table(run_id, {"disease": ["pneumonia", "arthritis"], "n": [1, 2]}, name="table.json")
    table = tracker.client.load_table(tracker.experiment_id, "table.json", run_ids=[run_id])
    assert table.to_dict("list") == {"disease": ["pneumonia", "arthritis"], "n": [1, 2]}


def test_a_folder_that_holds_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected a model in "):
        load_model(tmp_path)
