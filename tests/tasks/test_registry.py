"""Champions in MLflow's registry, on a real SQLite database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import TrackingError
from tasks.core.settings import default_tracking_uri
from tasks.registry import champion, name_champion
from tasks.tracking import Tracker, open_tracker


@pytest.fixture(scope="module")
def tracker(tmp_path_factory) -> Tracker:
    home = tmp_path_factory.mktemp("home")
    return open_tracker(default_tracking_uri(home), home / "mlartifacts")


def trained(tracker: Tracker, folder: Path, name: str) -> str:
    """Return a run that logged a model folder."""
    run_id = tracker.start_run(name, tags={})
    (folder / name).mkdir()
    (folder / name / "MLmodel").write_text("artifact_path: model\nflavors: {}\n")
    tracker.log_model(run_id, folder / name, name=name, params={})
    tracker.end_run(run_id, completed=True)
    return run_id


def test_a_champion_that_comes_back_has_its_version_again(tracker, tmp_path):
    assert champion(tracker, "arthritis") is None
    first, second = (trained(tracker, tmp_path, name) for name in ("one", "two"))
    made = [
        name_champion(tracker, "arthritis", run_id, tags={"radtrain.verdict": verdict})
        for run_id, verdict in ((first, "a"), (second, "b"), (first, "c"))
    ]
    assert [version.number for version in made] == ["1", "2", "1"]
    now = champion(tracker, "arthritis")
    assert now is not None
    assert (now.number, now.run_id, now.tags["radtrain.verdict"]) == ("1", first, "c")
    assert champion(tracker, "pneumonia") is None


def test_a_run_without_a_model_is_no_champion(tracker):
    run_id = tracker.start_run("empty", tags={})
    with pytest.raises(TrackingError, match="The model of a run is not in MLflow") as caught:
        name_champion(tracker, "pneumonia", run_id, tags={})
    assert run_id in str(caught.value)
    assert champion(tracker, "pneumonia") is None
