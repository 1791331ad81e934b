"""Which runs are compared, and what is said where none can be: real MLflow databases, folders as training leaves them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tasks.core.errors import ComparisonRefused
from tasks.find_runs import find_runs
from tasks.run_folder import UnreadableRun, read_run_folder
from tests.compared_runs import FIGURES, Home, TestRows, rows


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Home:
    return Home.make(tmp_path_factory.mktemp("store") / "home")


@pytest.fixture
def home(store) -> Home:
    return store.for_another_disease()


def found(home: Home, *diseases: str):
    return find_runs.fn(home.settings, "fast", "intensive", list(diseases) or None)


def only(home: Home):
    (match,) = found(home, home.disease)
    return match


def refused(home: Home) -> str:
    with pytest.raises(ComparisonRefused) as error:
        found(home, home.disease)
    assert error.value.exit_code == 17
    assert "fix:" in str(error.value)
    return str(error.value)


def test_the_last_completed_run_of_each_profile_is_taken(home):
    home.complete("fast", figures=FIGURES.model_copy(update={"epochs": 9}))
    last, folder = home.complete("fast")
    other, _ = home.complete("intensive")
    match = only(home)
    assert [[run.found.run_id for run in side] for side in match.sides] == [[last], [other]]
    assert match.sides[0][0].folder.path == folder
    assert (match.disease, match.title, match.reason) == (home.disease, f"{home.disease} on made rows", "")
    assert match.warnings == ()


def test_seeds_of_the_same_training_are_taken_together_the_newest_of_each(home):
    home.complete("fast", seed=1)
    newer, _ = home.complete("fast", seed=1)
    home.complete("fast", seed=2, figures=FIGURES.model_copy(update={"epochs": 9}))
    home.complete("fast", seed=3, manifest="cd" * 32)
    last, _ = home.complete("fast", seed=0)
    home.complete("intensive")
    first, second = only(home).sides
    assert [(run.found.run_id, run.plan.seed) for run in first] == [(last, 0), (newer, 1)]
    assert len(second) == 1


def test_more_runs_than_mlflow_gives_at_once_are_all_looked_through(home, monkeypatch):
    monkeypatch.setattr("tasks.tracking._PAGE", 2)
    for seed in range(5):
        home.complete("fast", seed=seed)
    home.complete("intensive")
    assert [run.plan.seed for run in only(home).sides[0]] == [4, 3, 2, 1, 0]


def test_diseases_come_in_the_order_of_the_catalog_that_they_were_trained_with(tmp_path):
    home = Home.make(tmp_path / "home")
    assert_nothing_is_there(home)
    for disease in ("arthritis", "pneumonia", "cardiomegaly"):
        for profile in ("fast", "intensive"):
            home.complete(profile, disease, diseases="cardiomegaly, arthritis, pneumonia")
    assert [match.disease for match in found(home)] == ["cardiomegaly", "arthritis", "pneumonia"]
    assert [match.disease for match in found(home, "pneumonia", "arthritis")] == ["pneumonia", "arthritis"]


def test_a_disease_without_a_run_of_one_profile_says_so_beside_the_others(home):
    for profile in ("fast", "intensive"):
        home.complete(profile)
    home.complete("fast", "osteoporosis")
    reasons = {match.disease: match.reason for match in found(home, home.disease, "osteoporosis")}
    assert reasons == {
        home.disease: "",
        "osteoporosis": "intensive was never trained on it: radtrain train intensive --disease osteoporosis",
    }


def test_a_profile_that_only_failed_is_told_with_the_cause_of_the_last_failure(home):
    home.complete("fast")
    home.fail("intensive", cause="WorkerDied")
    home.fail("intensive", cause="TrainingDiverged")
    text = refused(home)
    assert "no run of intensive on it was completed, the last one failed on 20" in text
    assert f"(TrainingDiverged): mend that, then radtrain train intensive --disease {home.disease}" in text


def test_a_failure_after_the_last_completed_run_is_warned_of(home):
    home.complete("fast")
    run_id, _ = home.complete("intensive")
    home.fail("intensive", cause="WorkerDied")
    match = only(home)
    assert match.sides[1][0].found.run_id == run_id
    assert match.warnings == (
        "The last run of intensive failed (WorkerDied): the completed one before it is compared.",
    )


def test_unequal_manifests_are_told_with_digests_counts_dates_and_the_command_that_mends_it(home):
    home.complete("fast", manifest="cd" * 32, n_train=90)
    home.complete("intensive")
    text = refused(home)
    assert "fast on 20" in text
    assert "manifest cdcdcdcdcdcd (90 images for training, 20 for validation, 40 for testing)" in text
    assert "manifest abababababab (100 images for training" in text
    assert f"train the older one again: radtrain train fast --disease {home.disease}" in text


def test_test_rows_that_differ_under_one_manifest_are_refused(home):
    home.complete("fast")
    test = rows(38)
    home.complete("intensive", test=test)
    text = refused(home)
    assert (
        "the test rows of the runs differ although their manifests are the same: 40 and 38 rows, 2 images"
        in text
    )


def test_labels_that_differ_under_one_manifest_are_refused(home):
    home.complete("fast")
    test = rows()
    home.complete("intensive", test=TestRows(test.images, test.groups, 1 - test.labels))
    assert "40 and 40 rows, 0 images in one only" in refused(home)


@pytest.mark.parametrize(
    "lost", ["", "plan.json", "evaluation.json", "scores.parquet", "trained.npz", "model"]
)
def test_a_folder_or_a_file_of_it_that_is_gone_is_named(home, lost):
    _, folder = home.complete("fast")
    home.complete("intensive")
    place = folder / lost
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    text = refused(home)
    what = f"{lost} is gone from its folder" if lost else "its folder is not in this home folder"
    assert f"cannot be read: {what}" in text
    assert f"radtrain train fast --disease {home.disease}" in text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("plan.json", b"{", "a file is damaged"),
        ("plan.json", b'{"figures": {"epochs": 3}}', "plan.json is of another version"),
        ("evaluation.json", b"[]", "damaged, or of another version"),
        ("evaluation.json", b"\xff", "damaged, or of another version"),
        ("scores.parquet", b"PAR1 no more", "damaged, or of another version"),
    ],
)
def test_a_damaged_file_is_told_apart_from_a_missing_one(home, name, content, said):
    _, folder = home.complete("fast")
    (folder / name).write_bytes(content)
    with pytest.raises(UnreadableRun, match=said):
        read_run_folder(folder)


def test_a_seed_whose_folder_is_gone_is_left_out_and_told(home):
    _, folder = home.complete("fast", seed=1)
    shutil.rmtree(folder)
    home.complete("fast", seed=0)
    home.complete("intensive")
    match = only(home)
    assert [run.plan.seed for run in match.sides[0]] == [0]
    assert match.warnings == ("Runs of fast with seed 1 are left out: their folders cannot be read.",)


def test_a_profile_against_itself_is_refused(home):
    with pytest.raises(ComparisonRefused, match="with itself") as error:
        find_runs.fn(home.settings, "fast", "fast")
    assert "several seeds of one profile are taken together" in str(error.value)


@pytest.mark.parametrize("word", ["fa'st", "", "Fast", "../fast"])
def test_a_word_that_cannot_be_a_key_is_refused(home, word):
    with pytest.raises(ComparisonRefused, match="not the key of a profile"):
        find_runs.fn(home.settings, word, "intensive")
    with pytest.raises(ComparisonRefused, match="not the key of a profile"):
        find_runs.fn(home.settings, "fast", "intensive", [word])


def test_profiles_that_were_never_trained_are_told_with_the_nearest_name(home):
    home.complete("intensive")
    with pytest.raises(ComparisonRefused, match="Did you mean 'intensive'") as error:
        find_runs.fn(home.settings, "quick", "intense")
    assert "received: runs of " in str(error.value)
    assert "radtrain train quick; radtrain train intense" in str(error.value)


def assert_nothing_is_there(home: Home) -> None:
    with pytest.raises(ComparisonRefused, match="received: no run of any profile"):
        found(home)
    assert "fast was never trained on it" in refused(home)


def test_rows_come_back_as_evaluation_wrote_them(home):
    test = rows(12)
    scores = np.linspace(0, 1, 12).astype(np.float32)
    _, folder = home.complete("fast", test=test, scores=scores)
    read = read_run_folder(folder)
    assert read.rows.images == test.images
    assert read.rows.groups == test.groups
    np.testing.assert_array_equal(read.rows.labels, test.labels)
    np.testing.assert_array_equal(read.scores, scores)
    assert (read.threshold, read.estimates["auroc"].n, read.shortcuts[0].probe) == (0.5, 12, "thumbnail")
