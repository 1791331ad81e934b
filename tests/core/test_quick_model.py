"""The quick model: it gives what `fitting.fit` makes of the Keras model of the profile."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from tasks.core import classifier, fitting
from tasks.core.catalog import load_catalog
from tasks.core.fitting import Epoch, State, TrainingDiverged
from tasks.core.profile import Profile
from tasks.core.quick_model import HeldRows, QuickModel, fresh_head

FIGURES = load_catalog().profile("fast", {"batch_size": 16, "learning_rate": 0.01, "dense_units": 8})
LABELS = np.tile([0.0, 1.0, 0.0], 24).astype(np.float32)
CHANNELS, SEED = 20, 3
INPUTS = np.random.default_rng(7).normal(size=(72, CHANNELS)).astype(np.float32)
INPUTS[:, ::10] += LABELS[:, None] * 0.5
#: Rows that are trained on, the last batch of which is half a one, and rows that are scored; not in their order.
TRAINED, HELD_OUT = np.split(np.random.default_rng(1).permutation(72), [40])


def rows(numbers: np.ndarray) -> fitting.Rows:
    return fitting.Rows(LABELS[numbers], lambda some, _: INPUTS[numbers[some]])


class Scored:
    """In place of checkpoints: scores of the held-out rows after each epoch."""

    def __init__(self, model) -> None:
        self.model, self.scores = model, []

    def load(self) -> State:
        return State()

    def save(self, state: State) -> None:
        self.scores.append(fitting.predict(self.model, rows(HELD_OUT), batch_size=64))


def fit(model, figures: Profile) -> tuple[list[Epoch], np.ndarray]:
    ticks, scored = count(), Scored(model)
    history = fitting.fit(
        model,
        rows(TRAINED),
        rows(HELD_OUT),
        figures=figures,
        seed=SEED,
        disease="pneumonia",
        clock=lambda: float(next(ticks)),
        checkpoints=scored,
    )
    return history, np.stack(scored.scores)


@pytest.fixture(scope="module")
def quick() -> QuickModel:
    return QuickModel(FIGURES, tail=None, channels=CHANNELS)


def restarted(quick: QuickModel, figures: Profile) -> QuickModel:
    quick.restart(figures, fresh_head(figures, channels=CHANNELS, prevalence=1 / 3, seed=SEED))
    return quick


def train(quick: QuickModel, figures: Profile) -> np.ndarray:
    held = HeldRows(INPUTS, LABELS)
    return restarted(quick, figures).train(held, TRAINED, HELD_OUT, figures=figures, seed=SEED)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dropout": 0.0, "class_weights": "balanced", "learning_rate": 0.002},
        {"dropout": 0.6, "learning_rate_schedule": "cosine"},
        {"steps_per_epoch": 2, "epochs": 5, "patience": 1},
    ],
    ids=lambda changes: ",".join(changes) or "as it is",
)
def test_it_trains_as_the_keras_model_does(quick, changes):
    figures = FIGURES.model_copy(update=changes)
    head = classifier.build_head(figures, channels=CHANNELS, prevalence=1 / 3, seed=SEED)
    expected, scores = fit(head, figures)
    at_once = train(quick, figures)
    assert at_once.shape == (
        figures.epochs,
        len(HELD_OUT),
    )  # whatever the patience: later epochs change no earlier one
    np.testing.assert_allclose(at_once[: len(expected)], scores, atol=1e-5)
    history, others = fit(restarted(quick, figures), figures)
    np.testing.assert_allclose(others, scores, atol=1e-5)
    assert [epoch.images for epoch in history] == [epoch.images for epoch in expected]
    assert [epoch.validation_auroc for epoch in history] == pytest.approx(
        [epoch.validation_auroc for epoch in expected], abs=1e-9
    )


def test_one_traced_training_serves_every_figure_of_the_optimiser_and_number_of_rows(quick):
    for changes in ({"dropout": 0.1}, {"epochs": 2, "learning_rate": 0.1}, {"steps_per_epoch": 1}):
        train(quick, FIGURES.model_copy(update=changes))
    assert quick._train.experimental_get_tracing_count() == 1


def test_it_forgets_what_it_was_trained_on_before(quick):
    one = train(quick, FIGURES)
    train(quick, FIGURES.model_copy(update={"learning_rate": 0.5}))
    np.testing.assert_array_equal(train(quick, FIGURES), one)


def test_dropout_drops_units(quick):
    one = train(quick, FIGURES.model_copy(update={"dropout": 0.0}))
    assert not np.allclose(one, train(quick, FIGURES.model_copy(update={"dropout": 0.6})), atol=1e-3)


def test_weights_that_are_no_numbers_give_no_scores(quick):
    wild = FIGURES.model_copy(update={"learning_rate": 1e25})
    assert np.isnan(train(quick, wild)[-1]).all()
    with pytest.raises(TrainingDiverged):
        fit(restarted(quick, wild), wild)
    assert np.isfinite(train(quick, FIGURES)).all()


def test_it_is_not_called_in_training(quick):
    with pytest.raises(ValueError, match="Expected training=False"):
        quick(INPUTS[:2], training=True)
