"""The quick model: trained by `fitting.fit`, it gives what the Keras model of the profile gives."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from tasks.core import classifier, fitting
from tasks.core.catalog import load_catalog
from tasks.core.fitting import Epoch, TrainingDiverged
from tasks.core.profile import Profile
from tasks.core.quick_model import QuickModel, fresh_head, whole_epochs
from tests.core.kept import Kept

FIGURES = load_catalog().profile("fast", {"batch_size": 16, "learning_rate": 0.01, "dense_units": 8})
LABELS = np.tile([0.0, 1.0, 0.0], 24).astype(np.float32)
CHANNELS, SEED = 20, 3
INPUTS = np.random.default_rng(7).normal(size=(72, CHANNELS)).astype(np.float32)
INPUTS[:, ::10] += LABELS[:, None] * 0.5


def rows(start: int, end: int) -> fitting.Rows:
    return fitting.Rows(LABELS[start:end], lambda numbers, _: INPUTS[start:end][numbers])


def fit(model, figures: Profile) -> tuple[list[Epoch], np.ndarray]:
    """Train on 40 rows, the last batch of which is half a one; return the epochs and the scores of the others."""
    ticks = count()
    history = fitting.fit(
        model,
        rows(0, 40),
        rows(40, 72),
        figures=figures,
        seed=SEED,
        disease="pneumonia",
        clock=lambda: float(next(ticks)),
        checkpoints=Kept(),
    )
    return history, fitting.predict(model, rows(40, 72), batch_size=64)


@pytest.fixture(scope="module")
def quick() -> QuickModel:
    return QuickModel(FIGURES, tail=None, channels=CHANNELS)


def restarted(quick: QuickModel, figures: Profile) -> QuickModel:
    quick.restart(figures, fresh_head(figures, channels=CHANNELS, prevalence=1 / 3, seed=SEED))
    return quick


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
    for given in (whole_epochs(figures, 40), figures):  # an epoch in one call, and batch by batch
        history, others = fit(restarted(quick, figures), given)
        np.testing.assert_allclose(others, scores, atol=1e-5)
        assert len(history) == len(expected)
        for one, other in zip(history, expected, strict=True):
            assert one.images == other.images
            assert one.validation_auroc == pytest.approx(other.validation_auroc, abs=1e-9)
            assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-5)


def test_one_traced_step_serves_every_dropout_and_number_of_rows(quick):
    for changes in ({"dropout": 0.1}, {"dropout": 0.5}, {"steps_per_epoch": 1}):
        figures = FIGURES.model_copy(update=changes)
        fit(restarted(quick, figures), whole_epochs(figures, 40))
    assert quick._train.experimental_get_tracing_count() == 1


def test_it_forgets_what_it_was_trained_on_before(quick):
    one = fit(restarted(quick, FIGURES), whole_epochs(FIGURES, 40))
    fit(restarted(quick, FIGURES.model_copy(update={"learning_rate": 0.5})), FIGURES)
    other = fit(restarted(quick, FIGURES), whole_epochs(FIGURES, 40))
    assert [e.validation_loss for e in one[0]] == [e.validation_loss for e in other[0]]
    np.testing.assert_array_equal(one[1], other[1])


def test_dropout_drops_units(quick):
    one = fit(restarted(quick, FIGURES.model_copy(update={"dropout": 0.0})), FIGURES)
    other = fit(restarted(quick, FIGURES.model_copy(update={"dropout": 0.6})), FIGURES)
    assert not np.allclose(one[1], other[1], atol=1e-3)


def test_a_loss_that_is_no_number_ends_the_training(quick):
    figures = FIGURES.model_copy(update={"learning_rate": 1e25, "epochs": 2})
    with pytest.raises(TrainingDiverged):
        fit(restarted(quick, figures), whole_epochs(figures, 40))


def test_it_is_not_called_in_training(quick):
    with pytest.raises(ValueError, match="Expected training=False"):
        quick(INPUTS[:2], training=True)


def test_a_batch_of_a_whole_epoch_holds_the_rows_of_its_batches():
    for figures in (FIGURES, FIGURES.model_copy(update={"steps_per_epoch": 2})):
        for epoch in (1, 2):
            apart = fitting.batches(40, figures=figures, seed=SEED, epoch=epoch)
            whole = fitting.batches(40, figures=whole_epochs(figures, 40), seed=SEED, epoch=epoch)
            assert len(whole) == 1
            np.testing.assert_array_equal(whole[0], np.concatenate(apart))
