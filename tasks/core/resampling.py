"""How sure a metric is: resamples of patients, and the 95 % interval that they give.

Patients in, resample weights out; a metric's values on the resamples in, its interval out. Comparison draws the same
resamples for its paired test.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from tasks.core.curves import Floats, Labels

TAIL = 0.025  # Each side of a 95 % interval.
FEWEST_RESAMPLES = 100  # Fewer leave only two values outside a 95 % interval.
# Weights held at once, 512 KiB as float64: three times faster than 2**22, because it stays in cache.
CHUNK = 2**16
# Resamples at once however many images: sorting 100,000 scores anew for two of them would dominate.
LEAST_ROWS = 8
ZERO_WIDTH = 1e-12  # Resamples closer than this are equal but for rounding.


def patient_resamples(groups: ArrayLike, *, seed: int, resamples: int) -> Iterator[Floats]:
    """Draw patients with replacement and yield how often each image was drawn, in chunks of bounded memory.

    The draw depends on the seed and the set of patient ids only: two models that were evaluated on the same
    patients get the same resamples, which is what makes a comparison paired.

    Args:
        groups: (n,) str or integer; the patient of each image.
        seed: of the resampling.
        resamples: number of them, at least 100.

    Returns:
        An iterator of weights (b, n) float64, whole numbers >= 0; the b add up to `resamples`.

    Raises:
        ValueError: patients that are missing, or fewer than 100 resamples.
    """
    patients = patient_index(groups, np.asarray(groups).size)
    if resamples < FEWEST_RESAMPLES:
        raise ValueError(
            f"Expected at least {FEWEST_RESAMPLES} resamples, received {resamples}. 2000 is the default."
        )
    return _draw(patients, np.random.default_rng(seed), resamples=resamples)


def interval(
    name: str, value: float, *, drawn: Floats, labels: Labels, patients: NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """Return the interval of one metric; labels and patients are those of the images it rests on."""
    ranking = name in ("auroc", "average_precision")
    parts = [patients[labels == 1], patients[labels == 0]] if ranking else [patients]
    usable = drawn[~np.isnan(drawn)]
    if min(np.unique(part).size for part in parts) < 2 or 2 * usable.size < drawn.size:
        return None, None
    low, high = (float(end) for end in np.quantile(usable, [TAIL, 1 - TAIL]))
    if high - low <= ZERO_WIDTH:
        low, high = _bound_without_spread(name, value, labels=labels, patients=patients)
    return min(low, value), max(high, value)


def _bound_without_spread(
    name: str, value: float, *, labels: Labels, patients: NDArray[np.int64]
) -> tuple[float, float]:
    """Bound a metric on which all resamples agree, from the number of independent observations alone.

    An observation is a patient; for auroc it is a pair of a positive and a negative patient, each used once: of
    those there are min(positive, negative), the count in Hoeffding (1963, section 5b) for two-sample U-statistics.
    The bound is that of Clopper & Pearson (1934) with value x observations as successes, which need not be whole
    (Korn & Graubard 1998, Survey Methodology 24). Of all outcomes in 0-1 with one mean, success-or-failure spreads
    most, so the bound is careful for the Brier score too. 10 of 10: 0.025 ** (1 / 10) = 0.69 to 1.
    """
    positive, negative = _disjoint_patients(labels, patients)
    if name == "average_precision":
        return _perfect_average_precision(labels, positive=positive, negative=negative), 1.0
    count = min(positive, negative) if name == "auroc" else np.unique(patients).size
    hits = round(value * count, 9)  # 1 - 1e-16 is 1.
    low = float(betaincinv(hits, count - hits + 1, TAIL)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - TAIL)) if hits < count else 1.0
    return low, high


def _disjoint_patients(labels: Labels, patients: NDArray[np.int64]) -> tuple[int, int]:
    """Count positive and negative patients, none in both; those with both kinds of images go where fewer are."""
    with_positive, with_negative = np.unique(patients[labels == 1]), np.unique(patients[labels == 0])
    both = np.intersect1d(with_positive, with_negative).size
    only_positive, only_negative = with_positive.size - both, with_negative.size - both
    moved = min(max((only_negative + both - only_positive) // 2, 0), both)
    return only_positive + moved, only_negative + both - moved


def _perfect_average_precision(labels: Labels, *, positive: int, negative: int) -> float:
    """Return the worst average precision that would still show perfect separation in 1 of 40 samples.

    In such a world a share `leak` of the negatives scores above all positives and a share `1 - kept` of the positives
    below all negatives; the sample shows neither with chance (1 - leak)^negative * kept^positive = 0.025. The
    area under precision = r / (r + leak * odds) is taken in closed form, and the worst split of the chance is
    searched. The same worlds give auroc its bound: the least of kept * (1 - leak) is 0.025^(1 / min(positive, negative)).
    """
    share = np.linspace(0, 1, 201)
    leak, kept = 1 - TAIL ** (share / negative), TAIL ** ((1 - share) / positive)
    odds = np.count_nonzero(labels == 0) / np.count_nonzero(labels == 1)
    false = np.maximum(leak * odds, np.finfo(np.float64).tiny)  # 0 * log(inf) is 0 in the limit.
    area = kept - false * (np.log(kept + false) - np.log(false))
    sunk = (1 - kept) - odds * (np.log(1 + odds) - np.log(kept + odds))
    return float(np.min(area + sunk))


def patient_index(groups: ArrayLike, n: int) -> NDArray[np.int64]:
    """Number the patients 0..g-1 in the order of their sorted ids: (n,) int64."""
    ids = np.asarray(groups)
    if ids.shape != (n,):
        raise ValueError(
            f"Expected one patient for each of {n} images, received groups of shape {ids.shape}."
        )
    if ids.dtype.kind not in "iu":
        missing = sum(not (isinstance(one, str) and one.strip()) for one in ids)
        if missing:
            raise ValueError(
                f"Expected a patient id (text or integer) for each image, received {missing} of {n} that are missing "
                "or of another type. Give an image of an unknown patient an id of its own."
            )
        ids = ids.astype(np.str_)
    return np.unique(ids, return_inverse=True)[1]


def _draw(patients: NDArray[np.int64], random: np.random.Generator, *, resamples: int) -> Iterator[Floats]:
    count = int(patients.max()) + 1
    step = max(LEAST_ROWS, CHUNK // patients.size)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = random.integers(0, count, size=(rows, count)) + np.arange(rows)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, patients].astype(np.float64)
