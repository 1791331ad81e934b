"""What a worker times for the ablation: live and cached features train alike, and test rows are not read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.catalog import load_catalog
from tasks.core.laps import Timed
from tasks.core.levers import Features, Run
from tasks.core.profile import Profile
from tasks.feature_spaces import BackboneKey
from tasks.plan_check import pixel_space
from tasks.store import write_table
from tasks.timing import Subject, time_run
from tasks.worker import Worker, fresh_worker

FIGURES: dict[str, Any] = {
    "alpha": 0.35,
    "weights": "random",
    "image_side": 32,
    "batch_size": 8,
    "epochs": 2,
    "steps_per_epoch": 3,
}
Timer = Callable[..., Timed]


@pytest.fixture(scope="module")
def timer(tmp_path_factory, worker: Worker) -> Timer:
    """Return how to time a run on the made-up pixels of 64 images, of which the test rows have none."""
    folder: Path = tmp_path_factory.mktemp("timing")
    random = np.random.default_rng(5)
    images = [f"{n:064x}" for n in range(64)]
    splits = ["train"] * 40 + ["validation"] * 12 + ["test"] * 12
    labels = random.integers(0, 2, 64).astype(np.int8)
    figures = profile()
    space = pixel_space(folder, figures)
    there = [image for image, split in zip(images, splits, strict=True) if split != "test"]
    space.open().put(there, random.integers(0, 256, (len(there), 32, 32), np.uint8))
    table = pa.table({"image": images, "label": labels, "group": images, "split": splits})
    manifest = write_table(folder / "manifest.parquet", table)
    subject = Subject("pneumonia", manifest, 3, folder / "features")

    def run(figures: Profile, features: Features) -> Timed:
        key = BackboneKey("MobileNetV2", 32, 0.35, None, "random-0", figures.trainable_layers)
        return worker.ask(time_run, Run(figures, features), key, space, subject)

    return run


def profile(**changes: Any) -> Profile:
    return load_catalog().profile("fast", FIGURES | changes)


def moved(**changes: Any) -> Profile:
    return profile(
        trainable_layers=3,
        augmentation={"rotation_degrees": 10.0},
        augmentation_variants=2,
        **changes,
    )


def test_live_and_cached_features_give_the_same_scores(timer):
    live, cold, warm = (timer(profile(), features) for features in ("live", "cold", "warm"))
    np.testing.assert_allclose(live.scores, cold.scores, atol=1e-4)
    np.testing.assert_allclose(cold.scores, warm.scores, atol=1e-4)
    assert live.scores.shape == (12,)
    assert (live.extracted, cold.extracted, warm.extracted) == (0, 52, 0)
    assert cold.extraction_s >= cold.extracted_image_s > 0
    assert timer(profile(), "cold").extracted == 52, "what was there before is computed again"


def test_augmented_variants_are_cached_for_the_batches_that_will_be_drawn(timer):
    live, cold, warm = (
        timer(figures, features)
        for figures, features in (
            (moved(learning_rate=1e-4), "live"),
            (moved(learning_rate=1e-4), "cold"),
            (moved(learning_rate=1e-4), "warm"),
        )
    )
    assert cold.extracted == 12 + 2 * 3 * 8
    assert warm.extracted == 0
    assert cold.trainable_parameters == live.trainable_parameters
    # Variants other than those of a live training (another seed), and features of half precision.
    np.testing.assert_allclose(live.scores, cold.scores, atol=0.02)
    np.testing.assert_allclose(cold.scores, warm.scores, atol=1e-4)


def test_every_step_and_every_scored_image_is_timed(timer):
    found = timer(profile(), "live")
    assert [[step.images for step in lap.steps] for lap in found.laps] == [[8, 8, 8], [8, 8, 8]]
    assert [lap.scored for lap in found.laps] == [12, 12]
    for lap in found.laps:
        spent = sum(step.duration_s for step in lap.steps)
        assert all(step.processor_s > 0 for step in lap.steps)
        assert 0 < spent < spent + lap.scoring_s <= lap.duration_s
    assert found.parameters == 410_208 + 1280 * 64 + 64 + 65
    assert 0 < found.imported_bytes <= found.peak_bytes


def test_a_fresh_worker_is_a_process_of_its_own_that_imports_what_it_is_told(worker: Worker):
    with fresh_worker(None, os.getpid) as other:
        assert other.ask(os.getpid) not in (worker.ask(os.getpid), os.getpid())
        assert "tensorflow" not in other.ask(_modules)
    assert "tensorflow" in worker.ask(_modules)


def _modules() -> set[str]:
    return {name.partition(".")[0] for name in sys.modules}
