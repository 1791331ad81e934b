"""Are two profiles different? Statistics of both on the same test rows, which respect patients.

Stands beside metrics: labels, patients and the scores of both in; difference, interval, p-value and the number of
images it would take out. What cannot be said is None, with a reason, and never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betainc, ndtri, stdtr, stdtrit

from tasks.core.curves import Floats, Labels
from tasks.core.delong import Parts, checked_scores, lacking_patients, parts_by_patient, rank_alike
from tasks.core.resampling import TAIL, ZERO_WIDTH, interval, patient_index

POWER = 0.8
#: Two AUROC points: the smallest difference that is worth a choice, and what `images_needed` is to show.
MARGIN = 0.02


@dataclass(frozen=True, slots=True)
class PairedAurocs:
    """Two profiles' AUROCs on the same test rows; differences are the first less the second.

    Attributes:
        n: images.
        patients: that they are of.
        first: AUROC of each seed of the first profile, 0-1; empty where the test rows hold one class only.
        second: the same of the second profile; it may have another number of seeds.
        difference: mean of first less mean of second, -1 to 1; None where there is no AUROC.
        low: lower end of its 95 % interval, at least -1.
        high: upper end of it, at most 1; None exactly where low is None.
        p_value: two-sided, that there is no difference; None exactly where low is None.
        row_variance: of the difference, from which patients are in the test rows; it shrinks as they become more.
        seed_variance: of the difference, from which seeds were trained; more images do not shrink it.
        reason: why something is None, or why the interval does not come from the spread of the scores; may be empty.
    """

    n: int
    patients: int
    first: tuple[float, ...] = ()
    second: tuple[float, ...] = ()
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    row_variance: float | None = None
    seed_variance: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class McNemar:
    """Which of two profiles is right more often, each at its own operating point.

    Attributes:
        only_first: images that the first has right and the second wrong (b); a mean over all pairs of seeds.
        only_second: images that the second has right and the first wrong (c).
        p_value: exact, two-sided, that neither is right more often.
        n: images.
    """

    only_first: float
    only_second: float
    p_value: float
    n: int


def compare_aurocs(
    labels: ArrayLike, patients: ArrayLike, first: ArrayLike, second: ArrayLike
) -> PairedAurocs:
    """Test whether two profiles differ in AUROC on the same test rows.

    With one seed each, two models are compared, and this is the test of DeLong et al. (1988), clustered by patient
    (`delong_covariance`). With several seeds, two profiles are: the variance is that of the contrast between the mean
    AUROCs, plus, for each profile, the variance between its seeds over their number. Of the latter only what
    exceeds the difference that the rows alone would make between two such models is added, for the contrast
    has the rest (Obuchowski & Rockette 1995, Communications in Statistics B 24, with seeds as readers); the
    degrees of freedom are Satterthwaite's. A profile with one seed is taken to vary like the other one.

    Where the variance is nil (both separate the classes perfectly, or rank all images alike) the formula would claim
    certainty from any number of images. Then the interval bounds what was not seen: with k pairs of a positive and
    a negative patient, none used twice, on which the two never disagreed, they may still disagree on a share of
    1 - 0.025^(1/k) of all pairs (Clopper & Pearson 1934; as `measure` has it for a perfect AUROC), and p is 1, for
    nothing speaks for a difference. Where such models differ nonetheless (one perfect, one constant), interval
    and p-value are Clopper & Pearson's for the mean of k pairs.

    Args:
        labels: (n,) 0 or 1.
        patients: (n,) str or integer; the patient of each image.
        first: (n,) or (seeds, n) float, 0-1; scores of the first profile.
        second: the same of the second profile.

    Returns:
        The comparison; with one class only, or one patient of a class, what is undefined is None.

    Raises:
        ValueError: bad labels, patients or scores.
    """
    (y, one), (_, two) = checked_scores(labels, first), checked_scores(labels, second)
    scores, seeds = np.vstack([one, two]), len(one)
    groups = patient_index(patients, y.size)
    found = PairedAurocs(n=y.size, patients=int(groups.max()) + 1)
    if y.min() == y.max():
        kind = "positive" if y[0] else "negative"
        return replace(found, reason=f"all {y.size} test images are {kind}, so there is no AUROC")
    parts = parts_by_patient(y, groups, scores)
    difference, row_variance = parts.contrast(seeds)
    aurocs = tuple(parts.aurocs.tolist())
    found = replace(found, first=aurocs[:seeds], second=aurocs[seeds:], difference=difference)
    lacking = lacking_patients(y, groups)
    if lacking:
        return replace(found, reason=lacking)
    seed_variance, freedom = _seed_variance(parts, seeds, row_variance)
    error, reason = math.sqrt(row_variance + seed_variance), ""
    if error <= ZERO_WIDTH:
        low, high, p_value, reason = _without_spread(y, groups, scores, difference=difference)
    else:
        reach = float(stdtrit(freedom, 1 - TAIL)) * error
        low, high = difference - reach, difference + reach
        p_value = 2 * float(stdtr(freedom, -abs(difference) / error))
    return replace(
        found,
        low=max(low, -1.0),
        high=min(high, 1.0),
        p_value=p_value,
        row_variance=row_variance,
        seed_variance=seed_variance,
        reason=reason,
    )


def mcnemar(right_first: ArrayLike, right_second: ArrayLike, patients: ArrayLike) -> McNemar:
    """Test whether one of two profiles is right more often, exactly, with patients as the units.

    If neither is better, each patient's surplus (images that only the first has right less those that only the second
    has) is as likely with the other sign. The p-value is the share of all choices of signs with a sum at least as far
    from 0 as the one seen. With one image per patient that is McNemar (1947) in its exact, two-sided binomial form;
    images of one patient are not independent, and counting them as if they were makes p too small. With several
    seeds it judges these models together, not further seeds.

    Args:
        right_first: (n,) or (seeds, n) bool; whether the first profile's answer at its operating point is the label.
        right_second: the same of the second profile.
        patients: (n,) str or integer.

    Raises:
        ValueError: answers on other images, no images, or missing patients.
    """
    one, two = (np.atleast_2d(np.asarray(right, dtype=bool)) for right in (right_first, right_second))
    n = one.shape[1]
    if two.shape[1] != n or not n:
        raise ValueError(
            f"Expected answers of both profiles on the same images, at least one, received {n} and {two.shape[1]}."
        )
    # Whole numbers whatever the seeds, so that the sums of signs can be counted.
    surplus = two.shape[0] * one.sum(axis=0) - one.shape[0] * two.sum(axis=0)
    share_one, share_two = one.mean(axis=0), two.mean(axis=0)
    return McNemar(
        only_first=float(np.sum(share_one * (1 - share_two))),
        only_second=float(np.sum(share_two * (1 - share_one))),
        p_value=_reversal(np.bincount(patient_index(patients, n), weights=surplus).astype(np.int64)),
        n=n,
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number, so that one false alarm among all of them has a chance of at most 5 %.

    Source: Holm (1979), Scandinavian Journal of Statistics 6. The smallest is multiplied by their number, the next by
    one less, and so on; none falls below that of a smaller one. None (nothing was tested) stays None, uncounted.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    floor = 0.0
    for rank, (p, place) in enumerate(known):
        floor = max(floor, min(1.0, (len(known) - rank) * p))
        corrected[place] = floor
    return corrected


def images_needed(found: PairedAurocs, *, difference: float = MARGIN, power: float = POWER) -> int | None:
    """Return how many test images, of patients like these, would show a difference of AUROC with the wanted power.

    A two-sided test at 5 % finds a true difference d with power P if its standard error is d / (z(0.975) + z(P)), z
    being the normal quantile: 0.02 / 2.80 by default. The variance from rows falls as 1 / n, that from seeds does not:

        n_needed = n * row_variance / ((d / (z(0.975) + z(P)))^2 - seed_variance)

    A correction for several diseases would need more. None where the variance is unknown or nil, and where the
    seeds alone vary too much for any number of images.
    """
    if found.row_variance is None or math.sqrt(found.row_variance) <= ZERO_WIDTH:
        return None
    allowed = (difference / float(ndtri(1 - TAIL) + ndtri(power))) ** 2 - found.seed_variance
    return math.ceil(found.n * found.row_variance / allowed) if allowed > 0 else None


def _seed_variance(parts: Parts, seeds: int, row_variance: float) -> tuple[float, float]:
    """Return the variance of the difference that comes from seeds, and the degrees of freedom of the whole."""
    covariance = parts.covariance()
    terms: list[tuple[float, int]] = []  # variance between the seeds of a profile, and how many they are
    for part in (slice(None, seeds), slice(seeds, None)):
        own, aurocs = covariance[part, part], parts.aurocs[part]
        count = aurocs.size
        if count > 1:
            shared = (own.sum() - np.trace(own)) / (count * (count - 1))
            from_rows = np.trace(own) / count - shared
            terms.append((max(0.0, float(aurocs.var(ddof=1) - from_rows)), count))
    means = [variance / count for variance, count in terms]
    if len(terms) == 1:
        means[0] += terms[0][0]  # the single seed of the other profile
    total = sum(means, 0.0)
    spread = sum(mean**2 / (count - 1) for mean, (_, count) in zip(means, terms, strict=True))
    return total, (row_variance + total) ** 2 / spread if spread > 0 else math.inf


def _without_spread(
    labels: Labels, groups: Labels, scores: Floats, *, difference: float
) -> tuple[float, float, float, str]:
    """Return interval, p-value and reason where the formula's variance is nil; see `compare_aurocs`."""

    def bound(value: float) -> tuple[float, float]:
        low, high = interval("auroc", value, drawn=np.full(1, value), labels=labels, patients=groups)
        return low or 0.0, 1.0 if high is None else high

    never = bound(1.0)[0]  # 0.025^(1/k)
    unseen = "the interval bounds what these images cannot show"
    if rank_alike(labels, scores):
        return never - 1, 1 - never, 1.0, f"both rank every positive against every negative alike; {unseen}"
    low, high = bound((1 + difference) / 2)
    pairs = round(math.log(TAIL) / math.log(never))
    hits = (1 + abs(difference)) / 2 * pairs
    p_value = min(1.0, 2 * float(betainc(hits, pairs - hits + 1, 0.5)))
    return 2 * low - 1, 2 * high - 1, p_value, f"all patients show the same difference; {unseen}"


def _reversal(surplus: NDArray[np.int64]) -> float:
    """Return the share of all choices of signs that put the sum at least as far from 0 as it is.

    Where all surpluses have one size it is a binomial tail. Else the distribution of the sum comes from its
    characteristic function, a product of cosines, on a grid so fine that nothing wraps around: n log n. That is
    exact to 2e-16, below which no p-value is said to be.
    """
    sizes, counts = np.unique(np.abs(surplus[surplus != 0]), return_counts=True)
    if not sizes.size:
        return 1.0
    unit = int(np.gcd.reduce(sizes))
    sizes, seen = sizes // unit, abs(int(surplus.sum())) // unit
    if sizes.size == 1:
        total = int(counts[0])
        return min(1.0, 2 * float(bdtr((total - seen) // 2, total, 0.5)))
    points = 2 * int(sizes @ counts) + 1
    place, wave = np.arange(points), np.ones(points)
    for size, count in zip(sizes, counts, strict=True):
        wave *= np.cos(2 * np.pi * (size * place % points) / points) ** count
    sums = np.minimum(place, points - place)
    chance = np.fft.fft(wave).real[sums >= seen].sum() / points
    return float(np.clip(chance, np.finfo(np.float64).eps, 1.0))
