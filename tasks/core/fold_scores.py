"""What one trial gives: scores of held-out training rows, fold by fold and epoch by epoch.

In: scores, fold after fold. Out: whether to go on, and what the trial came to. The epoch is chosen once for all folds:
chosen for each by itself, the figure is flattered by 0.02 more (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.core.curves import Labels
from tasks.core.fitting import Epoch, best_epoch, cross_entropy
from tasks.core.metrics import auroc
from tasks.core.shortcuts import cross_validated_auroc

#: Told an AUROC and its step, from 1; says whether to give the trial up.
Watch = Callable[[float, int], bool]


class Hopeless(Exception):
    """A trial is so far behind the others that the rest of it is not worth its seconds."""


class FoldScores:
    """Scores of one trial.

    Attributes:
        steps: what was told: after each fold, the AUROC of the best epoch of the folds so far, a mean.
    """

    def __init__(
        self, labels: Labels, groups: Labels, folds: Labels, *, epochs: int, is_hopeless: Watch
    ) -> None:
        """Begin with no fold trained.

        Args:
            labels: (n,) 0 or 1.
            groups: (n,) 0 ... g - 1.
            folds: (n,) 0 ... k - 1; each fold, and the rest of each, holds both classes.
            epochs: at most.
            is_hopeless: is told each step.
        """
        self._labels, self._groups, self._folds = labels, groups, folds
        self._is_hopeless = is_hopeless
        self._scores = np.full((epochs, labels.size), np.nan)
        self._curves = np.full((int(folds.max()) + 1, epochs), np.nan)
        self.steps: list[float] = []

    def held_out(self) -> np.ndarray:
        """Return the row numbers of the fold that is next."""
        return np.flatnonzero(self._folds == len(self.steps))

    def add_fold(self, scores: np.ndarray, *, patience: int, chosen_on: int) -> None:
        """Take the scores of a fold's held-out rows.

        Where training would have stopped early, its best epoch stands for those that it would have done without.

        Args:
            scores: (e, m) finite, 0-1; after each epoch.
            patience: epochs after the best one before training stops; 0 for none.
            chosen_on: held-out rows that choose the best epoch: the first ones.

        Raises:
            Hopeless: the trial is to be given up.
        """
        rows, fold = self.held_out(), len(self.steps)
        last, best = _ended(self._labels[rows[:chosen_on]], scores[:, :chosen_on], patience)
        kept = np.minimum(np.arange(len(self._scores)), last - 1)
        kept = np.where(np.arange(kept.size) < last, kept, best - 1)
        self._scores[:, rows] = scores[kept]
        areas = [_area(self._labels[rows], row) for row in scores]
        self._curves[fold] = np.array(areas)[kept]
        self.steps.append(float(self._curves[: fold + 1].mean(axis=0).max()))
        if self._is_hopeless(self.steps[-1], len(self.steps)):
            raise Hopeless

    def count(self) -> int:
        """Return how many rows were held out so far."""
        return int(np.count_nonzero(self._folds < len(self.steps)))

    def epoch(self) -> int:
        """Return the number of the best epoch of all folds so far; 0 where there is none."""
        return int(self._curves[: len(self.steps)].mean(axis=0).argmax()) + 1 if self.steps else 0

    def completed(self) -> tuple[float, float | None, float | None, float]:
        """Return AUROC, the ends of its 95 % interval by patient, and cross-entropy, once all folds are there."""
        scores = self._scores[self.epoch() - 1]
        found = cross_validated_auroc(self._labels, scores, self._groups, folds=self._folds)
        return float(found[0]), found[1], found[2], cross_entropy(self._labels, scores)


def _ended(labels: Labels, scores: np.ndarray, patience: int) -> tuple[int, int]:
    """Return the number of the last epoch that `fitting.fit` would have trained, and that of its best one."""
    history: list[Epoch] = []
    for number, row in enumerate(scores, 1):
        history.append(Epoch(number, 0.0, cross_entropy(labels, row), _area(labels, row), 0, 0, 0.0))
        if patience and number - best_epoch(history).number >= patience:
            break
    return len(history), best_epoch(history).number


def _area(labels: Labels, scores: np.ndarray) -> float:
    return float(auroc(labels, scores, np.ones((1, labels.size)))[0])
