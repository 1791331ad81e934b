"""What one trial gives: scores of held-out training rows, fold by fold and epoch by epoch.

In: scores, as training goes on. Out: whether to go on, and what the trial came to. The epoch is chosen once for all
folds: chosen for each by itself, the figure is flattered by 0.02 more (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.core.curves import Labels
from tasks.core.fitting import cross_entropy
from tasks.core.metrics import auroc
from tasks.core.shortcuts import cross_validated_auroc

#: Told an AUROC and its step, from 1; says whether to give the trial up.
Watch = Callable[[float, int], bool]


class Hopeless(Exception):
    """A trial is so far behind the others that the rest of it is not worth its seconds."""


class FoldScores:
    """Scores of one trial.

    Attributes:
        steps: what was told: the AUROC after each epoch of the first fold, then, after each further fold, that of the
            best epoch of the folds so far, a mean.
        ended: folds that were trained to their end.
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
        self.ended = 0

    def held_out(self) -> np.ndarray:
        """Return the row numbers of the fold that is trained now."""
        return np.flatnonzero(self._folds == self.ended)

    def add_epoch(self, number: int, scores: np.ndarray) -> None:
        """Take the scores (m,) of the held-out rows after an epoch, numbered from 1.

        Raises:
            Hopeless: the trial is to be given up.
        """
        rows = self.held_out()
        self._scores[number - 1, rows] = scores
        area = float(auroc(self._labels[rows], scores, np.ones((1, rows.size)))[0])
        self._curves[self.ended, number - 1] = area
        if self.ended == 0:
            self._tell(area)

    def end_fold(self, number: int, best: int) -> None:
        """Close the fold that is trained now.

        Args:
            number: of its last epoch; where it is an early one, the best stands for those that it did without.
            best: number of its best epoch.

        Raises:
            Hopeless: the trial is to be given up.
        """
        rows = self.held_out()
        self._scores[number:, rows] = self._scores[best - 1, rows]
        self._curves[self.ended, number:] = self._curves[self.ended, best - 1]
        self.ended += 1
        if self.ended > 1:
            self._tell(self.so_far())

    def so_far(self) -> float:
        """Return the AUROC of the best epoch: the mean of the folds that have ended, or that of the first as it stands."""
        if self.ended:
            return float(self._curves[: self.ended].mean(axis=0).max())
        return max(self.steps)

    def count(self) -> int:
        """Return how many rows were held out by the folds that have ended."""
        return int(np.count_nonzero(self._folds < self.ended))

    def epoch(self) -> int:
        """Return the number of the best epoch of all folds; 0 where none has ended."""
        return int(self._curves[: self.ended].mean(axis=0).argmax()) + 1 if self.ended else 0

    def completed(self) -> tuple[float, float | None, float | None, float]:
        """Return AUROC, the ends of its 95 % interval by patient, and cross-entropy, once all folds have ended."""
        scores = self._scores[self.epoch() - 1]
        found = cross_validated_auroc(self._labels, scores, self._groups, folds=self._folds)
        return float(found[0]), found[1], found[2], cross_entropy(self._labels, scores)

    def _tell(self, area: float) -> None:
        self.steps.append(area)
        if self._is_hopeless(area, len(self.steps)):
            raise Hopeless
