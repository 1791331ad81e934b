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
EPOCHS = 4


def never(auroc: float, step: int) -> bool:
    return False


def made_up(fold: int, epoch: int) -> np.ndarray:
    """Return scores of the rows of a fold: they tell most of the label after epoch 3."""
    rows = fold == FOLDS
    random = np.random.default_rng([fold, epoch])
    told = {1: 0.0, 2: 0.3, 3: 1.0, 4: 0.6}[epoch]
    return 1 / (1 + np.exp(-(random.normal(size=rows.sum()) + told * (2 * LABELS[rows] - 1))))


def filled(is_hopeless=never, *, early: int = EPOCHS) -> FoldScores:
    """Return the scores of a trial; its first fold ends after `early` epochs."""
    told = FoldScores(LABELS, GROUPS, FOLDS, epochs=EPOCHS, is_hopeless=is_hopeless)
    for fold in range(int(FOLDS.max()) + 1):
        last = early if fold == 0 else EPOCHS
        for epoch in range(1, last + 1):
            np.testing.assert_array_equal(told.held_out(), np.flatnonzero(fold == FOLDS))
            told.add_epoch(epoch, made_up(fold, epoch))
        told.end_fold(last, best=min(3, last))
    return told


def area(fold: int, epoch: int) -> float:
    rows = fold == FOLDS
    return float(auroc(LABELS[rows], made_up(fold, epoch), np.ones((1, rows.sum())))[0])


def test_one_epoch_is_chosen_for_all_folds_and_its_scores_are_those_that_count():
    told = filled()
    means = [np.mean([area(fold, epoch) for fold in range(5)]) for epoch in range(1, EPOCHS + 1)]
    assert told.epoch() == int(np.argmax(means)) + 1 == 3
    scores = np.empty(60)
    for fold in range(5):
        scores[fold == FOLDS] = made_up(fold, 3)
    expected = cross_validated_auroc(LABELS, scores, GROUPS, folds=FOLDS)
    assert told.completed() == (*expected, cross_entropy(LABELS, scores))
    assert told.so_far() == pytest.approx(max(means))
    assert (told.count(), told.ended) == (60, 5)


def test_the_first_fold_is_judged_by_epoch_and_each_further_one_by_the_mean_so_far():
    steps = filled().steps
    assert steps[:EPOCHS] == [area(0, epoch) for epoch in range(1, EPOCHS + 1)]
    for count in range(2, 6):
        means = [np.mean([area(fold, epoch) for fold in range(count)]) for epoch in range(1, EPOCHS + 1)]
        assert steps[EPOCHS + count - 2] == pytest.approx(max(means))
    assert len(steps) == EPOCHS + 4


def test_a_fold_that_stopped_early_keeps_its_best_epoch():
    told = filled(early=2)
    assert told.epoch() == 3
    scores = np.empty(60)
    for fold in range(5):
        scores[fold == FOLDS] = made_up(fold, 2 if fold == 0 else 3)
    assert told.completed()[0] == cross_validated_auroc(LABELS, scores, GROUPS, folds=FOLDS)[0]


@pytest.mark.parametrize(("step", "folds"), [(1, 0), (3, 0), (5, 2), (8, 5)])
def test_a_hopeless_trial_ends_at_once_and_says_how_far_it_came(step, folds):
    kept: list[FoldScores] = []

    def watch(auroc: float, number: int) -> bool:
        return number == step

    class Told(FoldScores):
        def __init__(self, *args, **more) -> None:
            super().__init__(*args, **more)
            kept.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "FoldScores", Told)
        with pytest.raises(Hopeless):
            filled(watch)
    told = kept[0]
    assert (len(told.steps), told.ended) == (step, folds)
    assert told.count() == np.count_nonzero(folds > FOLDS)
    assert told.so_far() == (max(told.steps) if folds == 0 else pytest.approx(told.steps[-1]))


def test_no_patient_is_in_two_folds():
    for group in np.unique(GROUPS):
        assert len(np.unique(FOLDS[group == GROUPS])) == 1
