"""Curves behind the evaluation figure: ROC, precision-recall and reliability, as plain arrays.

Stands below metrics and figures: labels and scores in, frozen records of arrays out. `check_labels_and_scores`
is the one gate through which labels and scores enter every measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """A ROC curve from (0, 0) to (1, 1), one point for "nothing" and one for each distinct score.

    Attributes:
        false_positive_rate: (points,) float64, 0-1, rising; 1 - specificity.
        sensitivity: (points,) float64, 0-1, rising.
        thresholds: (points,) float64, falling; `score >= threshold` is positive. The first one is inf.
    """

    false_positive_rate: Floats
    sensitivity: Floats
    thresholds: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecallCurve:
    """A precision-recall curve, one point for each distinct score; the step below it has area `average_precision`.

    Attributes:
        recall: (points,) float64, 0-1, rising; the same as sensitivity.
        precision: (points,) float64, 0-1; the same as the positive predictive value.
        thresholds: (points,) float64, falling; `score >= threshold` is positive.
    """

    recall: Floats
    precision: Floats
    thresholds: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Said and seen, bin by bin of the score.

    Attributes:
        edges: (bins + 1,) float64, 0-1, equal widths; a bin holds its upper edge, the first one also holds 0.
        mean_score: (bins,) float64, 0-1; NaN where the bin is empty.
        observed_rate: (bins,) float64, 0-1, share of positives; NaN where the bin is empty.
        count: (bins,) int64, images in the bin.
    """

    edges: Floats
    mean_score: Floats
    observed_rate: Floats
    count: NDArray[np.int64]


def check_labels_and_scores(labels: ArrayLike, scores: ArrayLike) -> tuple[Labels, Floats]:
    """Return labels and scores as arrays of one length, or say what is wrong with them.

    Args:
        labels: (n,) bool, integer or float; 0 = without, 1 = with the disease.
        scores: (n,) float, 0-1; the model's probability of the disease.

    Returns:
        labels (n,) int64 and scores (n,) float64; n is at least 1.

    Raises:
        ValueError: another shape, another length, no rows, labels other than 0 and 1, scores that are not
            finite or not in 0-1.
    """
    y, s = np.asarray(labels), np.asarray(scores)
    for name, array in (("labels", y), ("scores", s)):
        if array.ndim != 1:
            raise ValueError(
                f"Expected {name} of shape (n,), received {array.shape}. "
                f"For one column of a network's output pass `{name}[:, 0]`."
            )
        if array.size and array.dtype.kind not in "biuf":
            raise ValueError(f"Expected numbers in {name}, received dtype {array.dtype}. Convert them first.")
    if y.size != s.size:
        raise ValueError(f"Expected one score for each label, received {y.size} labels and {s.size} scores.")
    if y.size == 0:
        raise ValueError(
            "Expected at least one image, received 0. Does the manifest have rows in this split?"
        )
    strange = int(np.count_nonzero((y != 0) & (y != 1)))
    if strange:
        raise ValueError(
            f"Expected labels 0 or 1, received {strange} of {y.size} with another value. "
            "An unknown label is not a negative one: leave such rows out."
        )
    s = s.astype(np.float64)
    broken = int(np.count_nonzero(~np.isfinite(s)))
    if broken:
        raise ValueError(
            f"Expected finite scores, received {broken} of {s.size} that are NaN or infinite. "
            "Look for a diverged training run (loss NaN) or broken pixels."
        )
    if s.min() < 0 or s.max() > 1:
        raise ValueError(
            f"Expected scores in 0..1, received {s.min():.4g}..{s.max():.4g}. Apply the sigmoid to logits first."
        )
    return y.astype(np.int64), s


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve:
    """Trace sensitivity over the false positive rate; images with the same score move together.

    Source: Fawcett (2006), An introduction to ROC analysis, algorithm 1.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) float, 0-1.

    Returns:
        A RocCurve of (distinct scores + 1) points.

    Raises:
        ValueError: bad input, or one of the two classes is missing.
    """
    y, s = check_labels_and_scores(labels, scores)
    if y.min() == y.max():
        raise ValueError(
            f"Expected positive and negative labels for a ROC curve, received {y.sum()} positive of {y.size}. "
            "Evaluate on rows that hold both classes."
        )
    true, seen, thresholds = _counts_above(y, s)
    false = seen - true
    return RocCurve(
        false_positive_rate=np.r_[0.0, false / false[-1]],
        sensitivity=np.r_[0.0, true / true[-1]],
        thresholds=np.r_[np.inf, thresholds],
    )


def precision_recall_curve(labels: ArrayLike, scores: ArrayLike) -> PrecisionRecallCurve:
    """Trace precision over recall; images with the same score move together.

    Source: Davis & Goadrich (2006); no interpolation between the points, which would be too optimistic.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) float, 0-1.

    Returns:
        A PrecisionRecallCurve of (distinct scores) points.

    Raises:
        ValueError: bad input, or no positive label.
    """
    y, s = check_labels_and_scores(labels, scores)
    if not y.any():
        raise ValueError(
            f"Expected at least one positive label for a precision-recall curve, received 0 of {y.size}. "
            "Evaluate on rows that hold the disease."
        )
    true, seen, thresholds = _counts_above(y, s)
    return PrecisionRecallCurve(recall=true / true[-1], precision=true / seen, thresholds=thresholds)


def reliability(labels: ArrayLike, scores: ArrayLike, *, bins: int = 10) -> Reliability:
    """Compare what the scores say with what is seen, in bins of equal width.

    Source: Guo et al. (2017), On calibration of modern neural networks, section 2.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) float, 0-1.
        bins: number of bins, at least 1.

    Returns:
        A Reliability of `bins` bins.

    Raises:
        ValueError: bad input, or fewer than one bin.
    """
    y, s = check_labels_and_scores(labels, scores)
    if bins < 1:
        raise ValueError(f"Expected at least 1 bin, received {bins}. Ten is the usual number.")
    index = bin_of(s, bins=bins)
    count = np.bincount(index, minlength=bins)
    nothing = np.full(bins, np.nan)
    sums = (np.bincount(index, weights=values, minlength=bins) for values in (s, y))
    mean_score, observed = (np.divide(total, count, out=nothing.copy(), where=count > 0) for total in sums)
    return Reliability(
        edges=np.linspace(0, 1, bins + 1), mean_score=mean_score, observed_rate=observed, count=count
    )


def bin_of(scores: Floats, *, bins: int) -> NDArray[np.int64]:
    """Return the bin (n,) int64 of each score (n,) in 0-1: ((m - 1) / bins, m / bins], and 0 in the first."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], scores, side="left")


def _counts_above(labels: Labels, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Count positives and images at or above each distinct score (falling): three arrays (distinct,) float64."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.flatnonzero(np.r_[falling[1:] != falling[:-1], True])
    return np.cumsum(labels[order])[last].astype(np.float64), (last + 1).astype(np.float64), falling[last]
