"""The worker: it survives the death of its process, and training sees no test row."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.cache import SpaceKey
from tasks.core.catalog import load_catalog
from tasks.core.plan import Plan
from tasks.store import read_json, write_json, write_table
from tasks.worker import BackboneKey, Trained, Worker, WorkerDied, start_worker, train


def test_a_worker_that_is_killed_fails_one_request_and_serves_the_next(worker: Worker):
    before = worker.ask(os.getpid)
    with pytest.raises(WorkerDied, match=r"SIGKILL \(out of memory, or killed by hand\)"):
        worker.ask(_kill_yourself, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="exit code 3"):
        worker.ask(_leave, 3)
    assert worker.ask(os.getpid) not in (before, os.getpid())


def test_starting_a_worker_within_its_context_gives_the_same_one(worker: Worker):
    with start_worker() as again:
        assert again is worker
    assert worker.ask(os.getpid) > 0


def _kill_yourself(number: int) -> None:
    os.kill(os.getpid(), number)


def _leave(code: int) -> None:
    os._exit(code)


@pytest.fixture(scope="module")
def trainable(tmp_path_factory) -> tuple[Path, BackboneKey, SpaceKey, pa.Table]:
    """A folder, a small backbone, a cache of made-up features of 120 images, and their manifest."""
    folder = tmp_path_factory.mktemp("trainable")
    random = np.random.default_rng(2)
    images = [f"{n:064x}" for n in range(120)]
    labels = random.integers(0, 2, 120)
    features = random.normal(size=(120, 1280)).astype(np.float32)
    features[:, :20] += labels[:, None] * 0.7
    key = SpaceKey(folder / "features", (("of", "a test"),), (1280,), "float32")
    key.open().put(images, features)
    splits = ["train"] * 72 + ["validation"] * 24 + ["test"] * 24
    table = pa.table({"image": images, "label": labels.astype(np.int8), "group": images, "split": splits})
    return folder, BackboneKey("MobileNetV2", 96, 0.35, None, "random-0"), key, table


def train_with(trainable, name: str, table: pa.Table) -> tuple[Trained, list[np.ndarray]]:
    folder, backbone, features, _ = trainable
    figures = load_catalog().profile("fast", {"image_side": 96, "alpha": 0.35, "weights": "random"})
    counts = {"n_train": 72, "n_validation": 24, "n_test": 24}
    plan = Plan(
        disease="pneumonia",
        title="Pneumonia",
        profile="fast",
        figures=figures,
        wanted_sensitivity=0.8,
        seed=0,
        manifest_digest="",
        weights_digest="",
        features="",
        versions={},
        **counts,
    )
    write_json(folder / name / "plan.json", plan.to_json())
    manifest = write_table(folder / name / "manifest.parquet", table)
    trained = train(folder / name, manifest, backbone, features)
    with np.load(folder / name / "head.npz") as weights:
        return trained, [weights[part] for part in weights.files]


def test_no_test_row_has_a_hand_in_weights_epoch_or_threshold(trainable):
    table = trainable[3]
    test = np.array(table["split"].to_pylist()) == "test"
    labels = table["label"].to_numpy()
    flipped = table.set_column(1, "label", pa.array(np.where(test, 1 - labels, labels).astype(np.int8)))
    trained, weights = train_with(trainable, "as it is", table)
    other, others = train_with(trainable, "flipped", flipped)
    for one, two in zip(weights, others, strict=True):
        np.testing.assert_array_equal(one, two)
    assert trained.operating_point == other.operating_point
    assert trained.best_epoch == other.best_epoch


def test_a_training_label_does_have_a_hand_in_them(trainable):
    table = trainable[3]
    labels = table["label"].to_numpy().copy()
    labels[:30] = 1 - labels[:30]
    _, weights = train_with(trainable, "as it is again", table)
    _, others = train_with(trainable, "other labels", table.set_column(1, "label", pa.array(labels)))
    assert not np.array_equal(weights[0], others[0])


def test_the_operating_point_reaches_the_wanted_sensitivity_on_validation_rows(trainable):
    trained, _ = train_with(trainable, "operating point", trainable[3])
    assert trained.operating_point.sensitivity >= 0.8
    assert trained.operating_point.n == 24


def test_the_folder_holds_history_head_and_a_model_that_says_what_it_is_not_for(trainable):
    train_with(trainable, "files", trainable[3])
    folder = trainable[0] / "files"
    assert len(read_json(folder / "history.json")) == 3
    said = (folder / "model" / "MLmodel").read_text()
    assert "not_for_diagnosis: true" in said
    assert "threshold: " in said
