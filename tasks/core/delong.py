"""How AUROCs of several models on the same rows vary together, with patients as the units that were drawn.

Below `paired`: labels, patients and scores in; AUROCs, their covariance, and what each patient adds to them out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tasks.core.curves import Floats, Labels, check_labels_and_scores
from tasks.core.resampling import patient_index

_SIDES = ("left", "right")


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What each patient adds to each model's AUROC, above or below the share that is its own by count.

    Attributes:
        aurocs: (models,) float64, 0-1.
        positive: (models, patients) float64, through its positive images.
        negative: (models, patients) float64, through its negative images.
        factors: of the three sums of products: positive, negative, and mixed.
    """

    aurocs: Floats
    positive: Floats
    negative: Floats
    factors: tuple[float, float, float]

    def covariance(self) -> Floats:
        """Return the covariance of the AUROCs, (models, models) float64."""
        own, other, mixed = self.factors
        crossed = self.positive @ self.negative.T
        return (
            own * self.positive @ self.positive.T
            + other * self.negative @ self.negative.T
            + mixed * (crossed + crossed.T)
        )

    def contrast(self, models: int) -> tuple[float, float]:
        """Return the mean AUROC of the first `models` less that of the others, and its variance from rows.

        The parts are subtracted before they are multiplied, so that models that agree have a variance of exactly 0.
        """
        own, other, mixed = self.factors
        difference, positive, negative = (
            part[:models].mean(axis=0) - part[models:].mean(axis=0)
            for part in (self.aurocs, self.positive, self.negative)
        )
        variance = own * positive @ positive + other * negative @ negative + 2 * mixed * positive @ negative
        return float(difference), max(0.0, float(variance))


def delong_covariance(labels: ArrayLike, patients: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Return the AUROCs of models on the same rows and their covariance, clustered by patient.

    Source: Obuchowski (1997), "Nonparametric analysis of clustered ROC curve data", Biometrics 53; a patient may have
    images of both classes. Where each patient has one image this is DeLong, DeLong & Clarke-Pearson (1988),
    Biometrics 44. Counts below and beside each score come from one sort per model, as in Sun & Xu (2014), IEEE
    Signal Processing Letters 21: n log n instead of n squared.

    Args:
        labels: (n,) 0 or 1, at least two patients with each.
        patients: (n,) str or integer.
        scores: (models, n) float, 0-1.

    Returns:
        AUROCs (models,) float64, and their covariance (models, models) float64.

    Raises:
        ValueError: bad input, or fewer than two patients of a class.
    """
    y, models = checked_scores(labels, scores)
    groups = patient_index(patients, y.size)
    lacking = lacking_patients(y, groups)
    if lacking:
        raise ValueError(f"Expected at least two patients of each class, received rows where {lacking}.")
    parts = parts_by_patient(y, groups, models)
    return parts.aurocs, parts.covariance()


def checked_scores(labels: ArrayLike, scores: ArrayLike) -> tuple[Labels, Floats]:
    """Return labels (n,) and scores (models, n), or raise what `check_labels_and_scores` has against them."""
    pairs = [check_labels_and_scores(labels, model) for model in np.atleast_2d(np.asarray(scores))]
    return pairs[0][0], np.stack([one for _, one in pairs])


def lacking_patients(labels: Labels, groups: Labels) -> str:
    """Say which class has fewer than two patients; an empty text where neither has."""
    few = [label for label in (1, 0) if np.unique(groups[labels == label]).size < 2]
    kinds = " and ".join({1: "positive", 0: "negative"}[label] for label in few)
    return f"the {kinds} test images are of fewer than two patients, so the spread is unknown" if few else ""


def parts_by_patient(labels: Labels, groups: Labels, scores: Floats) -> Parts:
    """Divide each model's AUROC among the patients.

    Args:
        labels: (n,) 0 or 1, both present.
        groups: (n,) patient of each image, 0 ... g - 1.
        scores: (models, n) float64.
    """
    positives, negatives = int(labels.sum()), int(labels.size - labels.sum())
    count = int(groups.max()) + 1
    pairs = np.stack([_concordant(labels, groups, model, count=count) for model in scores])
    aurocs = pairs[:, 0].sum(axis=1) / (positives * negatives)  # counts, so that 0.5 is 0.5
    pairs /= positives * negatives
    images = [np.bincount(groups[labels == label], minlength=count) for label in (1, 0)]
    held = (np.count_nonzero(images[0]), np.count_nonzero(images[1]), count)
    own, other, mixed = (float(number / max(number - 1, 1)) for number in held)
    return Parts(
        aurocs=aurocs,
        positive=pairs[:, 0] - aurocs[:, None] * images[0] / positives,
        negative=pairs[:, 1] - aurocs[:, None] * images[1] / negatives,
        factors=(own, other, mixed),
    )


def rank_alike(labels: Labels, scores: Floats) -> bool:
    """Say whether all models put every positive on the same side of every negative.

    The images of the other class below an image, or up to it, are nested sets; their sizes alone tell them apart.
    """
    counts = []
    for model in scores:
        of_class = [np.sort(model[labels == label]) for label in (0, 1)]
        counts.append(
            [
                np.searchsorted(of_class[1 - label], model[labels == label], side=side)
                for label in (0, 1)
                for side in _SIDES
            ]
        )
    return all(np.array_equal(a, b) for other in counts[1:] for a, b in zip(counts[0], other, strict=True))


def _concordant(labels: Labels, groups: Labels, scores: Floats, *, count: int) -> Floats:
    """Count the pairs that each patient's positive, and negative, images have right; a tie is half: (2, patients)."""
    distinct, place = np.unique(scores, return_inverse=True)
    positive, negative = (np.bincount(place[labels == label], minlength=distinct.size) for label in (1, 0))
    below = np.cumsum(negative) - negative / 2
    above = labels.sum() - np.cumsum(positive) + positive / 2
    sums = [
        np.bincount(groups[labels == label], weights=pairs[place[labels == label]], minlength=count)
        for label, pairs in ((1, below), (0, above))
    ]
    return np.stack(sums).astype(np.float64)
