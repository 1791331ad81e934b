"""A student that learns from a teacher, and a run that keeps to a time limit: on phantoms, with real servers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prefect import State

from flows.train_all import train_all
from tasks.core.report import DiseasesFailed, Report
from tasks.files import read_json
from tasks.store import read_rows, read_table
from tests.phantom_data import draw, write_catalog
from tests.small_network import write_weights

_PROFILES = """
[profiles.teacher]
backbone = "MobileNetV2"
alpha = 0.35
weights = "{weights}"
image_side = 64
trainable_layers = 30
dense_units = 16
dropout = 0.2
batch_size = 16
epochs = 2
steps_per_epoch = 20
validation_steps = 10
learning_rate = 0.001
augmentation_variants = 2
augmentation = {{ rotation_degrees = 10.0, shift = 0.05 }}

[profiles.student]
backbone = "MobileNetV2"
alpha = 0.35
weights = "{weights}"
image_side = 64
dense_units = 16
dropout = 0.2
batch_size = 16
epochs = 3
steps_per_epoch = 20
validation_steps = 10
learning_rate = 0.002
teacher = "teacher"
teacher_share = 0.6
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, prefect_server, worker) -> Path:
    """A data root, a catalog and a home."""
    folder = tmp_path_factory.mktemp("school")
    draw(folder / "data", ("arthritis",), side=64)
    profiles = _PROFILES.format(weights=write_weights(folder / "weights.npz"))
    write_catalog(folder / "catalog", ("arthritis",), profile=profiles)
    return folder


def train(folder: Path, profile: str, **words) -> State[Report]:
    return train_all(
        profile=profile,
        diseases=["arthritis"],
        data=str(folder / "data"),
        catalog=str(folder / "catalog"),
        home=str(folder / "home"),
        return_state=True,
        **words,
    )


@pytest.fixture(scope="module")
def taught(folder) -> tuple[Report, Report]:
    """A student that finds no teacher; then the teacher and the student."""
    alone = train(folder, "student").result(raise_on_failure=False)
    assert isinstance(alone, DiseasesFailed)
    reason = alone.report.outcomes[0].reason
    assert "learns from 'teacher', which was not trained on these images" in reason
    assert "radtrain train teacher --disease arthritis" in reason
    assert alone.report.outcomes[0].cause == "TeacherMissing"
    teacher, student = (train(folder, name).result() for name in ("teacher", "student"))
    return teacher, student


def run_folder(folder: Path, report: Report) -> Path:
    return folder / "home" / "runs" / report.run_id / "arthritis"


def test_the_student_is_fitted_to_the_teachers_scores_of_training_rows_alone(folder, taught):
    _, student = taught
    table = read_table(run_folder(folder, student) / "teacher.parquet")
    plan = read_json(run_folder(folder, student) / "plan.json")
    manifest = next((folder / "home" / "manifests").glob("arthritis-*.parquet"))
    assert table["image"].to_pylist() == read_rows(manifest, "train").images
    assert len(plan["teacher"]) == 64
    scores = table["score"].to_numpy()
    assert scores.std() > 0.01  # it says something
    labels = read_rows(manifest, "train").labels
    assert not np.array_equal(np.rint(scores), scores)
    assert np.corrcoef(scores, labels)[0, 1] > 0


def test_the_share_of_the_teacher_decides_what_the_student_becomes(folder, taught):
    _, student = taught
    other = train(folder, "student", overrides={"teacher_share": 0.05}).result()
    weights = [np.load(run_folder(folder, report) / "trained.npz")["arr_0"] for report in (student, other)]
    assert not np.array_equal(*weights)


def test_a_teacher_that_has_changed_its_backbone_is_not_asked(folder, taught):
    profiles = folder / "catalog" / "profiles.toml"
    before = profiles.read_text()
    profiles.write_text(before.replace("trainable_layers = 30", "trainable_layers = 12"))
    failed = train(folder, "student").result(raise_on_failure=False)
    profiles.write_text(before)
    assert isinstance(failed, DiseasesFailed)
    assert "it has another backbone than the profile has now" in failed.report.outcomes[0].reason


def test_a_teacher_with_a_teacher_is_refused(folder):
    failed = train(folder, "student", overrides={"teacher": "student"}).result(raise_on_failure=False)
    assert "A teacher cannot have a teacher" in str(failed)
    assert "key teacher" in str(failed)


def test_a_time_limit_takes_steps_away_and_the_same_command_takes_the_same(folder, taught):
    long = train(folder, "teacher", time_limit=60.0).result()
    assert read_json(run_folder(folder, long) / "plan.json")["figures"]["steps_per_epoch"] == 20
    known = list((folder / "home" / "known" / "steps").glob("*.json"))
    assert len(known) == 1
    known[0].write_text("3")  # as a slower machine would have found
    short = train(folder, "teacher", time_limit=60.0).result()
    plan = read_json(run_folder(folder, short) / "plan.json")
    assert plan["figures"]["steps_per_epoch"] == 3
    history = read_json(run_folder(folder, short) / "history.json")
    assert [epoch["steps"] for epoch in history] == [3, 3]


def test_a_time_limit_for_not_one_step_is_refused_before_anything_is_trained(folder, taught):
    failed = train(folder, "teacher", time_limit=0.001).result(raise_on_failure=False)
    assert "The time limit is too short for one step of training in each epoch." in str(failed)
