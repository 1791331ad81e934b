"""What the worker is asked before a training is planned: how long an image, a step and a score take here.

In: a backbone and a profile. Out: seconds, of made-up inputs of the right shapes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from tasks import loaded
from tasks.core import fitting
from tasks.core.augmentation import augment
from tasks.core.pace import Pace
from tasks.core.profile import Profile
from tasks.feature_spaces import BackboneKey
from tasks.inputs import BATCH


def measure_pace(key: BackboneKey, dtype: str, figures: Profile) -> Pace:
    """Return what an image and a step cost here; what is traced for it serves the training itself.

    Args:
        key: of the backbone.
        dtype: of its features.
        figures: of the profile.
    """
    random = np.random.default_rng(0)
    squares = random.integers(0, 256, (BATCH, key.side, key.side), np.uint8)
    run, table = loaded.forward(key, dtype), figures.augmentation
    model = loaded.trainee(key, figures).model
    fitting.compile_for(model, figures)
    shape = (figures.batch_size, *loaded.backbone(key).shape)
    inputs = random.random(shape, np.float32)
    targets = (np.arange(figures.batch_size) % 2).astype(np.float32)
    weights = np.ones(2, np.float32) if figures.class_weights == "balanced" else None

    def image() -> None:
        for n, square in enumerate(squares):
            if not table.is_none():
                augment(square, table, seed=0, image="0" * 64, number=n)
        run(squares)

    rows = fitting.Rows(targets, lambda numbers, _: inputs[numbers])
    traced_s, images_s = _seconds(image)
    compiled_s, step_s = _seconds(lambda: fitting.step(model, inputs, targets, weights))
    _, scores_s = _seconds(lambda: fitting.predict(model, rows, batch_size=figures.batch_size))
    trunks = 1 if key.precision == "float32" else 2  # it is checked against float32
    return Pace(
        image_s=images_s / BATCH,
        step_s=step_s,
        score_s=scores_s / len(targets),
        once_s=trunks * traced_s + compiled_s,
    )


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return what the first run, which traces, took more than others, and the median of three others."""
    took = []
    for _ in range(4):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    usual = statistics.median(took[1:])
    return max(0.0, took[0] - usual), usual
