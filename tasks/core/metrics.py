"""Metrics of a binary classifier, each with an interval that respects patients.

Stands after train: labels, scores, patients in, one Estimate per metric out. Each metric is a vectorised function of
resample weights, so that 2,000 bootstrap resamples are a few matrix products; comparison uses the same functions
and the same resamples for its paired test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.core.curves import Floats, Labels, bin_of, check_labels_and_scores
from tasks.core.resampling import interval, patient_index, patient_resamples

# Guo et al. (2017) take 15 for 10,000s of images; with hundreds, 15 bins are mostly noise.
CALIBRATION_BINS = 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric, its 95 % interval, and the number of images it rests on.

    Attributes:
        value: the metric on the rows as they are; NaN where it is undefined (no positives, for example).
        low: lower end of the 95 % percentile bootstrap interval over patients; None where it cannot be computed.
        high: upper end of it; None exactly where low is None.
        n: images that the figure rests on; see `measure` for each metric.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return a mapping for json.dumps; an undefined value becomes None, because JSON has no NaN."""
        value = None if math.isnan(self.value) else self.value
        return {"value": value, "low": self.low, "high": self.high, "n": self.n}

    @classmethod
    def from_json(cls, mapping: dict[str, Any]) -> Estimate:
        """Read what `to_json` wrote."""
        value = math.nan if mapping["value"] is None else float(mapping["value"])
        return cls(value=value, low=mapping["low"], high=mapping["high"], n=int(mapping["n"]))


def measure(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    *,
    threshold: float,
    seed: int,
    resamples: int = 2000,
) -> dict[str, Estimate]:
    """Measure every metric with a 95 % interval from resampled patients.

    | key               | n = images that are         | undefined (NaN) without         |
    |-------------------|-----------------------------|---------------------------------|
    | auroc             | all                         | a positive and a negative       |
    | average_precision | all                         | a positive and a negative       |
    | accuracy          | all                         |                                 |
    | sensitivity       | labelled positive           | a positive                      |
    | specificity       | labelled negative           | a negative                      |
    | ppv               | at or above the threshold   | an image at or above it         |
    | npv               | below the threshold         | an image below it               |
    | brier             | all                         |                                 |
    | calibration_error | all                         |                                 |

    Images of one patient resemble each other, so patients are drawn with replacement, each with all of its images
    (Efron & Tibshirani 1993, chapter 13; Field & Welsh 2007, "Bootstrapping clustered data", JRSS B 69). The
    interval is None when fewer than two patients contribute (for auroc and average_precision: to either class), or
    when fewer than half of the resamples define the metric. When all resamples agree (10 of 10 found, perfect
    separation) the bootstrap knows nothing of the error it has not seen; `resampling` then
    bounds it. An interval is widened to hold its own value: calibration_error is biased upward, twice so when
    resampled (Kumar et al. 2019, "Verified uncertainty calibration"), and can leave it below. Patients are sorted by
    id and rows by score before anything is drawn, so the order of the rows changes nothing.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) float, 0-1.
        groups: (n,) str or integer; the patient of each image.
        threshold: the operating point, 0-1; `score >= threshold` is positive.
        seed: of the resampling.
        resamples: number of them, at least 100.

    Returns:
        The nine keys of the table, in its order.

    Raises:
        ValueError: bad labels, scores, groups, threshold or number of resamples.
    """
    y, s = check_labels_and_scores(labels, scores)
    patients = patient_index(groups, y.size)
    if not 0 <= threshold <= 1:
        raise ValueError(
            f"Expected a threshold in 0..1, received {threshold}. Take it from choose_operating_point."
        )
    # Sums of floats depend on their order in the last digit; a fixed order makes the result a function of the set.
    order = np.lexsort((patients, y, s))
    y, s, patients = y[order], s[order], patients[order]
    metrics = {
        "auroc": auroc,
        "average_precision": average_precision,
        "accuracy": partial(accuracy, threshold=threshold),
        "sensitivity": partial(sensitivity, threshold=threshold),
        "specificity": partial(specificity, threshold=threshold),
        "ppv": partial(positive_predictive_value, threshold=threshold),
        "npv": partial(negative_predictive_value, threshold=threshold),
        "brier": brier,
        "calibration_error": calibration_error,
    }
    said = s >= threshold
    rests_on = {"sensitivity": y == 1, "specificity": y == 0, "ppv": said, "npv": ~said}
    drawn: dict[str, list[Floats]] = {name: [] for name in metrics}
    for weights in patient_resamples(patients, seed=seed, resamples=resamples):
        for name, metric in metrics.items():
            drawn[name].append(metric(y, s, weights))
    estimates = {}
    for name, metric in metrics.items():
        value = float(metric(y, s, np.ones((1, y.size)))[0])
        rows = rests_on.get(name, np.ones(y.size, dtype=bool))
        low, high = interval(
            name, value, drawn=np.concatenate(drawn[name]), labels=y[rows], patients=patients[rows]
        )
        estimates[name] = Estimate(value=value, low=low, high=high, n=int(rows.sum()))
    return estimates


def auroc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike) -> Floats:
    """Measure the chance that a positive image scores above a negative one; a tie counts half.

    Source: Mann & Whitney (1947); Hanley & McNeil (1982).

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) float, 0-1.
        weights: (b, n) float >= 0; how often each image counts in each resample.

    Returns:
        (b,) float64, 0-1; NaN where a class has no weight.
    """
    positive, negative = _weight_by_score(*_checked(labels, scores, weights))
    above = np.cumsum(positive, axis=1)
    above -= positive / 2
    return _ratio(np.einsum("ij,ij->i", above, negative), positive.sum(axis=1) * negative.sum(axis=1))


def average_precision(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike) -> Floats:
    """Sum precision over the steps of recall, without interpolation.

    Source: Manning, Raghavan & Schütze (2008), section 8.4; as sklearn.metrics.average_precision_score.

    Args and shapes as in `auroc`.

    Returns:
        (b,) float64, 0-1; NaN where a class has no weight (without negatives it would be 1 by definition only).
    """
    positive, negative = _weight_by_score(*_checked(labels, scores, weights))
    found = np.cumsum(positive, axis=1)
    seen = np.cumsum(positive + negative, axis=1)
    # Above the first image of a resample both are 0; the precision there has no step of recall to count for.
    precision = found / np.maximum(seen, np.finfo(np.float64).tiny)
    area = _ratio(np.einsum("ij,ij->i", positive, precision), found[:, -1])
    return np.where(seen[:, -1] > found[:, -1], area, np.nan)


def accuracy(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike, *, threshold: float) -> Floats:
    """Measure the share of images on the right side of the threshold: (b,) float64, NaN without weight."""
    y, s, w = _checked(labels, scores, weights)
    return _share((s >= threshold) == (y == 1), np.ones(y.size, dtype=bool), weights=w)


def sensitivity(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike, *, threshold: float) -> Floats:
    """Measure the share of positives at or above the threshold: (b,) float64, NaN without positives."""
    y, s, w = _checked(labels, scores, weights)
    return _share(s >= threshold, y == 1, weights=w)


def specificity(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike, *, threshold: float) -> Floats:
    """Measure the share of negatives below the threshold: (b,) float64, NaN without negatives."""
    y, s, w = _checked(labels, scores, weights)
    return _share(s < threshold, y == 0, weights=w)


def positive_predictive_value(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike, *, threshold: float
) -> Floats:
    """Measure the share of positives among the images at or above the threshold: (b,) float64, NaN if none."""
    y, s, w = _checked(labels, scores, weights)
    return _share(y == 1, s >= threshold, weights=w)


def negative_predictive_value(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike, *, threshold: float
) -> Floats:
    """Measure the share of negatives among the images below the threshold: (b,) float64, NaN if none."""
    y, s, w = _checked(labels, scores, weights)
    return _share(y == 0, s < threshold, weights=w)


def brier(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike) -> Floats:
    """Measure the mean squared distance of score and label (Brier 1950): (b,) float64, 0 is best."""
    y, s, w = _checked(labels, scores, weights)
    return _ratio(w @ (s - y) ** 2, w.sum(axis=1))


def calibration_error(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike) -> Floats:
    """Measure the expected calibration error over ten bins of equal width: (b,) float64, 0 is best.

    Source: Guo et al. (2017), equation 3, taken of the score of the disease (0-1) instead of the confidence in the
    winning class (0.5-1): for a screening score both ends must be right.
    """
    y, s, w = _checked(labels, scores, weights)
    gap = np.zeros((y.size, CALIBRATION_BINS))
    gap[np.arange(y.size), bin_of(s, bins=CALIBRATION_BINS)] = y - s
    return _ratio(np.abs(w @ gap).sum(axis=1), w.sum(axis=1))


def _checked(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike) -> tuple[Labels, Floats, Floats]:
    y, s = check_labels_and_scores(labels, scores)
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 2 or w.shape[1] != y.size:
        raise ValueError(
            f"Expected weights of shape (b, {y.size}), received {w.shape}. For one set of rows pass np.ones((1, n))."
        )
    if w.size and not w.min() >= 0:  # `not >=` also catches NaN.
        raise ValueError(
            f"Expected weights >= 0, received {w.min():.4g}. They are counts of resampled images."
        )
    return y, s, w


def _ratio(above: Floats, below: Floats) -> Floats:
    """Divide, with NaN (and no warning) where nothing is below the line."""
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def _share(hits: NDArray[np.bool_], rows: NDArray[np.bool_], *, weights: Floats) -> Floats:
    """Return the weighted share of hits (n,) among rows (n,) in each resample, (b,)."""
    both = weights @ np.column_stack([hits & rows, rows]).astype(np.float64)
    return _ratio(both[:, 0], both[:, 1])


def _weight_by_score(labels: Labels, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Sum the weight of positives and of negatives at each distinct score, falling: two (b, distinct)."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    first = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
    total = weights[:, order]
    positive = total * labels[order]
    if first.size < scores.size:
        positive, total = (np.add.reduceat(w, first, axis=1) for w in (positive, total))
    return positive, total - positive
