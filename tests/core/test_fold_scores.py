"""What a trial gives: folds that share no patient, one epoch for all of them, and an end when it is hopeless."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.core.fitting import cross_entropy
from tasks.core.fold_scores import FoldScores, Hopeless
from tasks.core.metrics import auroc
from tasks.core.shortcuts import cross_validated_auroc, deal_folds

LABELS = np.tile([0, 1], 30)
GROUPS = np.arange(60) // 2
FOLDS = deal_folds(LABELS, GROUPS, seed=0)
EPOCHS, COUNT = 4, 5


def never(auroc: float, step: int) -> bool:
    return False


def made_up(fold: int, epoch: int) -> np.ndarray:
    """Return scores of the rows of a fold: they tell most of the label after epoch 3."""
    rows = fold == FOLDS
    noise = np.random.default_rng(fold).normal(size=rows.sum())
    told = {1: 0.0, 2: 0.5, 3: 1.0, 4: 0.7}[epoch]
    return 1 / (1 + np.exp(-(noise + told * (2 * LABELS[rows] - 1))))


def area(fold: int, epoch: int) -> float:
    rows = fold == FOLDS
    return float(auroc(LABELS[rows], made_up(fold, epoch), np.ones((1, rows.sum())))[0])


def fill(
    told: FoldScores, *, epochs: int = EPOCHS, patience: int = 0, order: tuple[int, ...] = (1, 2, 3, 4)
) -> FoldScores:
    """Add all folds, with their made-up epochs in some order; the first one has scores of so many epochs."""
    for fold in range(COUNT):
        np.testing.assert_array_equal(told.held_out(), np.flatnonzero(fold == FOLDS))
        last = epochs if fold == 0 else EPOCHS
        scores = np.stack([made_up(fold, epoch) for epoch in order[:last]])
        told.add_fold(scores, patience=patience, chosen_on=1000)
    return told


def new(is_hopeless=never) -> FoldScores:
    return FoldScores(LABELS, GROUPS, FOLDS, epochs=EPOCHS, is_hopeless=is_hopeless)


def scores_of(epochs: list[int]) -> np.ndarray:
    """Return (n,) scores: of the rows of each fold, those after an epoch of its own."""
    scores = np.empty(60)
    for fold, epoch in enumerate(epochs):
        scores[fold == FOLDS] = made_up(fold, epoch)
    return scores


def test_one_epoch_is_chosen_for_all_folds_and_its_scores_are_those_that_count():
    told = fill(new())
    means = [np.mean([area(fold, epoch) for fold in range(COUNT)]) for epoch in range(1, EPOCHS + 1)]
    assert told.epoch() == int(np.argmax(means)) + 1 == 3
    scores = scores_of([3] * COUNT)
    expected = cross_validated_auroc(LABELS, scores, GROUPS, folds=FOLDS)
    assert told.completed() == (*expected, cross_entropy(LABELS, scores))
    assert told.count() == 60


def test_after_each_fold_the_best_epoch_so_far_is_told():
    told: list[tuple[float, int]] = []

    def watch(auroc: float, step: int) -> bool:
        told.append((auroc, step))
        return False

    steps = fill(new(watch)).steps
    for count in range(1, COUNT + 1):
        means = [np.mean([area(fold, epoch) for fold in range(count)]) for epoch in range(1, EPOCHS + 1)]
        assert steps[count - 1] == pytest.approx(max(means))
    assert told == list(zip(steps, range(1, COUNT + 1), strict=True))


def test_a_fold_whose_training_stopped_early_keeps_its_best_epoch():
    """Two epochs were trained and the second is its best: it stands for the third and the fourth."""
    assert area(0, 2) > area(0, 1)
    told = fill(new(), epochs=2)
    assert told.epoch() == 3
    expected = cross_validated_auroc(LABELS, scores_of([2, 3, 3, 3, 3]), GROUPS, folds=FOLDS)
    assert told.completed()[:3] == expected


@pytest.mark.parametrize(("patience", "counts"), [(1, 2), (2, 3), (0, 3)])
def test_epochs_that_patience_would_have_spared_do_not_count(patience, counts):
    """The second epoch is worse than the first: training with a patience of 1 ends there, and never sees the third."""
    assert all(area(fold, 1) < area(fold, 2) < area(fold, 3) for fold in range(COUNT))
    told = fill(new(), patience=patience, order=(2, 1, 3, 4))
    expected = cross_validated_auroc(LABELS, scores_of([counts] * COUNT), GROUPS, folds=FOLDS)
    assert told.completed()[:3] == expected
    assert told.epoch() == (1 if counts == 2 else 3)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_hopeless_trial_ends_at_once_and_says_how_far_it_came(step):
    told = new(lambda auroc, number: number == step)
    with pytest.raises(Hopeless):
        fill(told)
    assert len(told.steps) == step
    assert told.count() == np.count_nonzero(step > FOLDS)


def test_before_the_first_fold_there_is_nothing():
    assert (new().epoch(), new().count(), new().steps) == (0, 0, [])
