"""Fitting: the one straight-line trainer. Batches in, best epoch's weights and the history out.

It does not know where inputs come from: cached features, or features that are computed as they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tasks.core.errors import RadtrainError
from tasks.core.metrics import auroc
from tasks.core.profile import Profile

if TYPE_CHECKING:
    import keras

#: (row numbers, epoch) in -> model inputs out: reads inputs of the rows wanted, so that memory holds one batch.
#: Epoch 0 asks for the images as they are.
Inputs = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one split: targets (n,) float32, 0-1 (labels are 0 or 1), and how to read the inputs of some of them."""

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

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Epoch:
        """Return the epoch that `to_json` wrote."""
        undefined = said["validation_auroc"] is None
        return cls(**{**said, "validation_auroc": math.nan if undefined else said["validation_auroc"]})


@dataclass(slots=True)
class State:
    """Where training stands after an epoch: everything that the next one depends on.

    Attributes:
        history: of the epochs so far.
        variables: of model and optimizer, the states of dropout included.
        best: trainable weights after the best epoch so far.
    """

    history: list[Epoch] = field(default_factory=list)
    variables: list[np.ndarray] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)


class Checkpoints(Protocol):
    """Where states are kept from epoch to epoch."""

    def load(self) -> State:
        """Return the last state that was kept whole, or a new one."""
        ...

    def save(self, state: State) -> None:
        """Keep a state."""
        ...


class TrainingDiverged(RadtrainError):
    """The loss, a weight or a score is no number any more."""

    def __init__(self, disease: str, *, epoch: int, step: int, loss: float, figures: Profile) -> None:
        kept = f"the checkpoint of epoch {epoch - 1} is kept" if epoch > 1 else "no epoch was completed"
        super().__init__(
            f"Training diverged: by epoch {epoch}, step {step}, a loss, weight or score is not finite.",
            where=f"{disease}; {kept}",
            expected="finite numbers",
            received=f"a loss of {loss:g} at a learning rate of {figures.learning_rate:g}",
            fix=f"lower the learning rate: --set learning_rate={figures.learning_rate / 10:g}",
        )


def fit(
    model: keras.Model,
    train: Rows,
    validation: Rows,
    *,
    figures: Profile,
    seed: int,
    disease: str,
    clock: Callable[[], float],
    checkpoints: Checkpoints,
) -> list[Epoch]:
    """Train in place; the model ends with the weights of its best epoch on validation rows.

    Best is the highest AUROC, of equals the lowest loss. Batches are drawn without replacement in an order
    that (seed, epoch) decides; an epoch ends after `steps_per_epoch` batches or when its rows are used up.
    Training goes on from the last checkpoint with exactly the result that it would have had without the break.

    Args:
        model: its outputs are probabilities (n, 1); compiled here, unless it comes from `classifier.restart`.
        train: rows that gradients come from.
        validation: rows that choose the epoch; the first `validation_steps` batches of them are scored.
        figures: of the profile.
        seed: of the batch order.
        disease: key, for the error.
        clock: seconds, for the durations.
        checkpoints: where the state is kept after each epoch, and found again.

    Raises:
        TrainingDiverged: the loss, a weight or a score is not finite; the last checkpoint stays.
        StorageError: a checkpoint cannot be written.
    """
    compile_for(model, figures)
    kept = min(len(validation.labels), figures.validation_steps * figures.batch_size)
    scored = Rows(validation.labels[:kept], validation.inputs)
    weight_of = class_weights(train.labels) if figures.class_weights == "balanced" else None
    state = checkpoints.load()
    if state.history:
        _assign(_variables(model), state.variables)
    while len(state.history) < figures.epochs and not _is_patience_over(state.history, figures.patience):
        began = clock()
        number = len(state.history) + 1
        model.optimizer.learning_rate.assign(learning_rate(figures, number))
        model.reset_metrics()
        loss, steps, images = 0.0, 0, 0
        for batch in batches(len(train.labels), figures=figures, seed=seed, epoch=number):
            loss = step(model, train.inputs(batch, number), train.labels[batch], weight_of)
            steps, images = steps + 1, images + len(batch)
            if not (math.isfinite(loss) and _is_finite(model)):
                raise TrainingDiverged(disease, epoch=number, step=steps, loss=loss, figures=figures)
        scores = predict(model, scored, batch_size=figures.batch_size)
        if not np.isfinite(scores).all():  # weights may be finite and yet too large
            raise TrainingDiverged(disease, epoch=number, step=steps, loss=loss, figures=figures)
        area = float(auroc(scored.labels, scores, np.ones((1, kept)))[0])
        lost = cross_entropy(scored.labels, scores)
        state.history.append(Epoch(number, loss, lost, area, steps, images, clock() - began))
        if state.history[-1] is best_epoch(state.history):
            state.best = [weight.numpy().copy() for weight in model.trainable_variables]
        state.variables = [variable.numpy().copy() for variable in _variables(model)]
        checkpoints.save(state)
    _assign(model.trainable_variables, state.best)
    return state.history


def compile_for(model: keras.Model, figures: Profile) -> None:
    """See that a model can be trained; one that was compiled before keeps its traced step."""
    import keras

    if not model.compiled:
        model.compile(keras.optimizers.Adam(figures.learning_rate), "binary_crossentropy")
    model.optimizer.build(model.trainable_variables)


def step(model: keras.Model, inputs: np.ndarray, targets: np.ndarray, weight_of: np.ndarray | None) -> float:
    """Train on one batch; return the mean loss of the epoch so far.

    Args:
        model: compiled.
        inputs: (n, *features) float32.
        targets: (n,) float32, 0-1.
        weight_of: (2,) what an image of each class counts; None where all count the same.
    """
    weights = None if weight_of is None else weight_of[np.rint(targets).astype(int)]
    return float(model.train_on_batch(inputs, targets, sample_weight=weights))


def learning_rate(figures: Profile, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 1: constant, or half a cosine towards 0.

    Source: Loshchilov & Hutter, "SGDR" (2017), equation 5 without restarts, in steps of an epoch.
    """
    if figures.learning_rate_schedule == "constant":
        return figures.learning_rate
    return figures.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / figures.epochs))


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Return (2,) float32: what an image of label 0 and of label 1 counts, so that both classes count the same.

    n / (2 n_class): the mean weight of all rows is 1. Source: King & Zeng, "Logistic Regression in Rare Events
    Data" (2001).
    """
    positive = float(labels.mean())
    return np.array([0.5 / (1 - positive), 0.5 / positive], np.float32)


def _is_patience_over(history: list[Epoch], patience: int) -> bool:
    """Tell whether the last `patience` epochs were none of them the best; 0 waits for ever."""
    return bool(patience and history) and len(history) - best_epoch(history).number >= patience


def _is_finite(model: keras.Model) -> bool:
    """Tell whether all that is trained is a number; the loss alone does not tell, for it is clipped on the way."""
    return all(np.isfinite(weight.numpy()).all() for weight in model.trainable_variables)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Return all that changes in training: weights, dropout's states, the optimizer's moments and step count."""
    return [*model.variables, *model.optimizer.variables]


def _assign(variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


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
        scores[batch] = np.ravel(model(rows.inputs(batch, 0), training=False))
    return scores


def cross_entropy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean binary cross-entropy in nats; scores are kept 1e-7 away from 0 and 1, as Keras does."""
    p = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))
