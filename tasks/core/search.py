"""The search for better figures of a profile: what a trial gave, and what is to be said of the best one.

In: trials on folds of the training rows, and figures of both contenders on validation rows. Out: records and
sentences. Test rows have no part in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tasks.core.card import interval
from tasks.core.curves import Labels
from tasks.core.errors import RadtrainError
from tasks.core.metrics import Estimate
from tasks.core.paired import PairedAurocs
from tasks.core.search_space import Figure


@dataclass(frozen=True, slots=True)
class Trial:
    """What training with some figures gave on held-out training rows.

    Attributes:
        number: from 0, which is the profile as it is.
        figures: those that are searched, as they were in this trial.
        state: completed on all folds; pruned, when it was plainly behind; or diverged, when its loss was no number.
        auroc: of the held-out rows, 0-1: as far as it came; None where it diverged.
        low: lower end of its 95 % interval by patient; None unless completed, and where it cannot be computed.
        high: upper end of it.
        loss: mean binary cross-entropy of the same rows, nats; None unless completed.
        n: held-out rows of the folds that were trained.
        folds: that were trained to their end.
        epoch: number of the best, of the mean of the folds that were trained; 0 where none was.
        steps: what it was judged by as it went on, see `FoldScores`.
        began: seconds since 1970.
        duration_s: of the trial.
    """

    number: int
    figures: Mapping[str, Figure]
    state: Literal["completed", "pruned", "diverged"]
    auroc: float | None
    low: float | None
    high: float | None
    loss: float | None
    n: int
    folds: int
    epoch: int
    steps: tuple[float, ...]
    began: float
    duration_s: float

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON."""
        return {
            "number": self.number,
            "state": self.state,
            "figures": dict(self.figures),
            "auroc": self.auroc,
            "low": self.low,
            "high": self.high,
            "loss": self.loss,
            "n": self.n,
            "folds": self.folds,
            "epoch": self.epoch,
            "seconds": round(self.duration_s, 3),
        }


@dataclass(frozen=True, slots=True)
class Searched:
    """What the search for one disease came to.

    Attributes:
        disease: key of the catalog.
        trials: in their order; the first has the profile's own figures.
        best: the completed trial with the highest AUROC; the first where none is higher.
        own_validation: AUROC of the profile as it is, trained on all training rows, on validation rows.
        best_validation: the same of the best trial's figures.
        paired: the best less the profile as it is, on the same validation rows.
        manifest: digest of its manifest.
        seed: of the search.
        search_s: seconds of all trials.
        duration_s: seconds of the search and of both trainings.
        options: what to add to `radtrain train PROFILE`; empty where no trial was better.
        command: that trains with the best figures.
    """

    disease: str
    trials: tuple[Trial, ...]
    best: Trial
    own_validation: Estimate
    best_validation: Estimate
    paired: PairedAurocs
    manifest: str
    seed: int
    search_s: float
    duration_s: float
    options: tuple[str, ...]
    command: str

    @property
    def own(self) -> Trial:
        """Of the profile as it is."""
        return self.trials[0]

    def count(self, state: str) -> int:
        """Return how many trials ended in a state."""
        return sum(trial.state == state for trial in self.trials)

    @property
    def gain(self) -> float | None:
        """AUROC of the best trial less that of the profile as it is, in the search; None where that diverged."""
        if self.own.auroc is None or self.best.auroc is None:
            return None
        return self.best.auroc - self.own.auroc

    @property
    def decision(self) -> Literal["own", "better", "worse", "not_shown"]:
        """What the validation rows say of the best figures against the profile's own."""
        low, high = self.paired.low, self.paired.high
        if self.best.number == self.own.number:
            return "own"
        if low is not None and low > 0:
            return "better"
        return "worse" if high is not None and high < 0 else "not_shown"

    def sentence(self) -> str:
        """Return what came of it, for people: both figures, their difference, and how far the search flattered."""
        if self.decision == "own":
            return (
                f"none of {len(self.trials) - 1} trials was better than the profile as it is: AUROC {_of(self.own)} on "
                f"{self.own.n} held-out training images in the search, {interval(self.own_validation)} on "
                f"{self.own_validation.n} validation images."
            )
        word = {
            "better": "better than the profile as it is",
            "worse": "worse than the profile as it is",
            "not_shown": "not shown to be better than the profile as it is",
        }[self.decision]
        against = f"AUROC {interval(self.best_validation)} against {interval(self.own_validation)}"
        said = f"the best trial is {word} on {self.best_validation.n} validation images: {against}"
        return f"{said}, {self._difference()}. {self._search()}"

    def to_json(self) -> dict[str, Any]:
        """Return the disease's part of `--json`."""
        return {
            "state": "completed",
            "decision": self.decision,
            "verdict": self.sentence(),
            "figures": dict(self.best.figures),
            "own_figures": dict(self.own.figures),
            "command": self.command,
            "trials": len(self.trials),
            "pruned": self.count("pruned"),
            "diverged": self.count("diverged"),
            "search": {"best": self.best.to_json(), "own": self.own.to_json()},
            "validation": {"best": self.best_validation.to_json(), "own": self.own_validation.to_json()},
            "difference": self.paired.difference,
            "interval": None if self.paired.low is None else [self.paired.low, self.paired.high],
            "p_value": self.paired.p_value,
            "manifest": self.manifest,
            "seed": self.seed,
            "search_s": round(self.search_s, 3),
            "seconds": round(self.duration_s, 3),
        }

    def _difference(self) -> str:
        paired = self.paired
        if paired.difference is None:
            return f"no difference can be said: {paired.reason}"
        if paired.low is None or paired.high is None:
            return f"difference {paired.difference:+.3f} (interval unknown: {paired.reason})"
        return f"difference {paired.difference:+.3f} ({paired.low:+.3f} to {paired.high:+.3f})"

    def _search(self) -> str:
        """Say what the search itself gave; a trial that was chosen for its figure has a figure that is too good."""
        said = f"In the search, on {self.best.n} held-out training images, it had {_of(self.best)} against {_of(self.own)}"
        if self.gain is None or self.paired.difference is None or self.gain <= self.paired.difference:
            return f"{said}."
        return f"{said}: the best of many is flattered, here by {self.gain - self.paired.difference:.3f}."


class TooFewToSearch(RadtrainError):
    """The training rows of a disease cannot be divided into folds that hold both classes."""

    def __init__(self, disease: str, *, labels: Labels, groups: Labels) -> None:
        held = [np.unique(groups[labels == label]).size for label in (0, 1)]
        super().__init__(
            "There are too few patients to search on: a fold of the training rows would hold one class only.",
            where=disease,
            expected="at least 2 negative and 2 positive patients, in training rows and in every fold of them",
            received=f"{held[0]} negative and {held[1]} positive patients, {labels.size} images",
            fix=f"add images, or search for other diseases; radtrain train still takes {disease}",
        )


def best_trial(trials: Sequence[Trial]) -> Trial:
    """Return the completed trial with the highest AUROC, of equals that with the lowest loss, of these the first."""
    completed = [trial for trial in trials if trial.state == "completed" and trial.auroc is not None]
    return max(completed or trials[:1], key=lambda trial: (trial.auroc or 0.0, -(trial.loss or math.inf)))


def _of(trial: Trial) -> str:
    if trial.auroc is None:
        return "no figure (it diverged)"
    ends = "" if trial.low is None or trial.high is None else f" ({trial.low:.2f}-{trial.high:.2f})"
    return f"{trial.auroc:.3f}{ends}"
