"""Fitting: the one straight-line trainer. Batches in, best epoch's weights and the history out.

It does not know where inputs come from: cached features for a head, pixels for a whole model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.core.catalog import Profile
from tasks.core.metrics import auroc

if TYPE_CHECKING:
    import keras

#: Rows in -> model inputs out: reads inputs of the rows wanted, so that memory holds one batch.
Inputs = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one split: labels (n,) float32 of 0 and 1, and how to read the inputs of some of them."""

    labels: np.ndarray
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch gave: losses are mean binary cross-entropy (nats), validation_auroc is 0-1."""

    number: int
    train_loss: float
    validation_loss: float
    validation_auroc: float
    steps: int
    images: int
    duration_s: float

    def to_json(self) -> dict[str, float | int | None]:
        """Return the epoch as JSON, which has no NaN: the AUROC of one class alone becomes null."""
        undefined = math.isnan(self.validation_auroc)
        return {**asdict(self), "validation_auroc": None if undefined else self.validation_auroc}


def fit(
    model: keras.Model,
    train: Rows,
    validation: Rows,
    *,
    figures: Profile,
    seed: int,
    clock: Callable[[], float],
) -> list[Epoch]:
    """Train in place; the model ends with the weights of its best epoch on validation rows.

    Best is the highest AUROC, of equals the lowest loss. Batches are drawn without replacement in an order
    that (seed, epoch) decides; an epoch ends after `steps_per_epoch` batches or when its rows are used up.

    Args:
        model: its outputs are probabilities (n, 1); compiled here, unless it comes from `classifier.restart`.
        train: rows that gradients come from.
        validation: rows that choose the epoch; the first `validation_steps` batches of them are scored.
        figures: of the profile.
        seed: of the batch order.
        clock: seconds, for the durations.
    """
    import keras

    if not model.compiled:
        model.compile(keras.optimizers.Adam(figures.learning_rate), "binary_crossentropy")
    kept = min(len(validation.labels), figures.validation_steps * figures.batch_size)
    scored = Rows(validation.labels[:kept], validation.inputs)
    history: list[Epoch] = []
    best: list[np.ndarray] | None = None
    for number in range(1, figures.epochs + 1):
        began = clock()
        model.reset_metrics()
        loss, steps, images = 0.0, 0, 0
        for batch in batches(len(train.labels), figures=figures, seed=seed, epoch=number):
            loss = float(model.train_on_batch(train.inputs(batch), train.labels[batch]))  # mean since reset
            steps, images = steps + 1, images + len(batch)
        scores = predict(model, scored, batch_size=figures.batch_size)
        area = float(auroc(scored.labels, scores, np.ones((1, kept)))[0])
        lost = cross_entropy(scored.labels, scores)
        history.append(Epoch(number, loss, lost, area, steps, images, clock() - began))
        if best is None or history[-1] is best_epoch(history):
            best = [weight.numpy().copy() for weight in model.trainable_variables]
    if best is not None:
        for weight, value in zip(model.trainable_variables, best, strict=True):
            weight.assign(value)
    return history


def best_epoch(history: list[Epoch]) -> Epoch:
    """Return the epoch whose weights `fit` keeps; one whose AUROC is undefined (one class) ranks last."""
    return max(history, key=lambda epoch: (np.nan_to_num(epoch.validation_auroc), -epoch.validation_loss))


def batches(rows: int, *, figures: Profile, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the row numbers of each batch of one epoch."""
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    steps = min(figures.steps_per_epoch, math.ceil(rows / figures.batch_size))
    return [order[n * figures.batch_size : (n + 1) * figures.batch_size] for n in range(steps)]


def predict(model: keras.Model, rows: Rows, *, batch_size: int) -> np.ndarray:
    """Return (n,) float32 scores, 0-1, in the order of the rows."""
    numbers = np.arange(len(rows.labels))
    scores = np.empty(len(numbers), np.float32)
    for start in range(0, len(numbers), batch_size):
        batch = numbers[start : start + batch_size]
        # Called, not `predict_on_batch`: a head is too small to be worth the 0.2 s of tracing.
        scores[batch] = np.ravel(model(rows.inputs(batch), training=False))
    return scores


def cross_entropy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean binary cross-entropy in nats; scores are kept 1e-7 away from 0 and 1, as Keras does."""
    p = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))
