"""The straight answer: which profile to use for a disease, in one sentence with its n, its interval and its price.

In: diseases that were compared. Out: the same, corrected for their number, with decision and sentence. A point is a
hundredth of AUROC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from data_checks.report import Audited
from tasks.core.comparison import Comparison, Decision, DiseaseComparison, Side
from tasks.core.paired import MARGIN, PairedAurocs, holm

SIGNIFICANT = 0.05
#: Shorter trainings are counted as this long: a ratio of milliseconds says nothing.
SHORTEST_S = 0.1
#: Trainings whose seconds differ by less are said to take the same time.
SAME_TIME = 1.1
_POINTS = f"{100 * MARGIN:g} points"
_ALONE = {
    "file_size": "the size of the file",
    "dimensions": "the size of the image",
    "format": "the format of the file",
    "mode": "the kind of pixel",
    "border": "the border of the image",
    "thumbnail": "an 8 x 8 px thumbnail",
}


@dataclass(frozen=True, slots=True)
class Price:
    """Which of two profiles trains faster, features included.

    Attributes:
        cheaper: key of the profile; None where both take about the same time, or the seconds are unknown.
        ratio: seconds of the dearer over those of the cheaper; None where unknown.
        at_least: the cheaper one was too short to time, so the ratio is a lower bound.
    """

    cheaper: str | None
    ratio: float | None
    at_least: bool = False

    @property
    def times(self) -> str:
        """The ratio in words: `63 times`, `1.4 times`, `at least 600 times`."""
        ratio = self.ratio or 1.0
        said = f"{ratio:,.0f}" if ratio >= 9.95 else f"{ratio:.1f}"
        return f"{'at least ' if self.at_least else ''}{said} times"


def price_of(one: Side, other: Side) -> Price:
    """Compare what two sides take from pixels to a trained model."""
    seconds = [side.cost.seconds for side in (one, other)]
    known = [max(s, SHORTEST_S) for s in seconds if s is not None and math.isfinite(s)]
    if len(known) < 2:
        return Price(None, None)
    ratio = max(known) / min(known)
    if ratio < SAME_TIME:
        return Price(None, ratio)
    cheaper = one if known[0] < known[1] else other
    return Price(cheaper.profile, ratio, at_least=min(s for s in seconds if s is not None) < SHORTEST_S)


def conclude(profiles: tuple[str, str], diseases: Sequence[DiseaseComparison]) -> Comparison:
    """Correct the p-values for the number of diseases (`paired.holm`), decide, and say so in a sentence each.

    | decision   | when |
    |------------|------|
    | equivalent | the 95 % interval lies within 2 points on both sides, significant or not |
    | better     | else, the corrected p-value is below 0.05 |
    | not_shown  | else |
    | undefined  | there is no p-value: no AUROC, too few patients, or nothing was compared |
    """
    p_values = holm([one.paired.p_value if one.paired else None for one in diseases])
    tested = sum(p is not None for p in p_values)
    corrected = [replace(one, p_holm=p, tested=tested) for one, p in zip(diseases, p_values, strict=True)]
    return Comparison(profiles, tuple(_decided(one) for one in corrected))


def verdict(one: DiseaseComparison) -> str:
    """Say in one sentence what a disease's figures come to; `conclude` has set its corrected p-value and decision."""
    sentences = {"better": _better, "equivalent": _equivalent, "not_shown": _not_shown}
    if one.paired is None or one.decision not in sentences:
        return _undefined(one)
    return f"{sentences[one.decision](one, one.paired)}{_but_a_shortcut(one)}."


def _decided(one: DiseaseComparison) -> DiseaseComparison:
    decision, better = _decision(one)
    decided = replace(one, decision=decision, better=better)
    return replace(decided, verdict=verdict(decided))


def _decision(one: DiseaseComparison) -> tuple[Decision, str | None]:
    paired = one.paired
    if paired is None or paired.low is None or paired.high is None or paired.difference is None:
        return "undefined", None
    if paired.low > -MARGIN and paired.high < MARGIN:
        return "equivalent", None
    if one.p_holm is None or one.p_holm >= SIGNIFICANT:
        return "not_shown", None
    return "better", one.sides[0 if paired.difference > 0 else 1].profile


def _better(one: DiseaseComparison, paired: PairedAurocs) -> str:
    winner, loser = one.sides if one.better == one.sides[0].profile else one.sides[::-1]
    ends = sorted(abs(end) for end in (paired.low or 0.0, paired.high or 0.0))
    loss = _points(abs(paired.difference or 0.0))
    said = f"{loser.profile} loses {loss} points, interval {_points(ends[0])} to {_points(ends[1])} with {_n(paired)}"
    price = price_of(winner, loser)
    if price.cheaper == loser.profile:
        return (
            f"{said}, and trains {price.times} faster: use {winner.profile} where {loss} points are worth that "
            f"time, {loser.profile} elsewhere"
        )
    return f"{said}, {_dearer(price)}: use {winner.profile}"


def _dearer(price: Price) -> str:
    if price.ratio is None:
        return "and the seconds of training are not known"
    return (
        "and trains in about the same time" if price.cheaper is None else f"and trains {price.times} slower"
    )


def _equivalent(one: DiseaseComparison, paired: PairedAurocs) -> str:
    first, second = one.sides
    said = (
        f"{first.profile} and {second.profile} are equivalent within {_POINTS} ({_difference(one, paired)} with "
        f"{_n(paired)})"
    )
    price = price_of(first, second)
    if price.ratio is None:
        return f"{said}: use the cheaper one; the seconds of training are not known"
    if price.cheaper is None:
        return f"{said} and train in about the same time: use either"
    return f"{said}: use {price.cheaper}, which trains {price.times} faster"


def _not_shown(one: DiseaseComparison, paired: PairedAurocs) -> str:
    raw = paired.p_value if paired.p_value is not None else 1.0
    only_raw = raw < SIGNIFICANT and one.p_holm is not None
    correction = f" after correction for {one.tested} diseases (p {raw:.2g}, corrected {one.p_holm:.2g})"
    said = (
        f"no difference shown with {_n(paired)}{correction if only_raw else ''} ({_difference(one, paired)}); "
        f"{_how_many(one, paired)}"
    )
    price = price_of(*one.sides)
    if price.cheaper is None:
        return said
    worst = -(paired.low or 0.0) if price.cheaper == one.sides[0].profile else paired.high or 0.0
    risk = f" and may lose up to {_points(worst)} points" if worst > 0 else ""
    return f"{said}; {price.cheaper} trains {price.times} faster{risk}"


def _how_many(one: DiseaseComparison, paired: PairedAurocs) -> str:
    if one.images_needed is None:
        if paired.seed_variance > 0:
            return f"more seeds, not more images, would be needed to show {_POINTS}"
        return f"how many would show {_POINTS} cannot be told from these"
    if one.images_needed <= paired.n:
        return f"they would show {_POINTS} four times in five"
    return f"about {_about(one.images_needed)} would be needed to show {_POINTS}"


def _undefined(one: DiseaseComparison) -> str:
    reason = one.reason or (one.paired.reason if one.paired else "") or "the runs were not compared"
    if one.paired is None:
        return f"not compared: {reason.rstrip('.')}."
    return f"no difference can be tested with {_n(one.paired)}: {reason.rstrip('.')}."


def _but_a_shortcut(one: DiseaseComparison) -> str:
    """Name the best probe without anatomy that does as well as the models, so that their figures are not trusted."""
    best = max((side.auroc or 0.0 for side in one.sides), default=0.0)
    found = [
        audited
        for audited in one.shortcuts
        if audited.low is not None and audited.low > 0.5 and audited.auroc >= best - MARGIN
    ]
    if not found:
        return ""
    return f"; but {_probe(max(found, key=lambda audited: audited.auroc))}"


def _probe(audited: Audited) -> str:
    alone = _ALONE.get(audited.probe, audited.probe)
    return (
        f"{alone} alone reaches {audited.auroc:.2f} on training and validation images, as much as the models"
    )


def _difference(one: DiseaseComparison, paired: PairedAurocs) -> str:
    low, difference, high = (100 * (x or 0.0) for x in (paired.low, paired.difference, paired.high))
    first, second = one.sides
    return f"{first.profile} less {second.profile} {_signed(difference)} points, interval {_signed(low)} to {_signed(high)}"


def _signed(points: float) -> str:
    return f"{round(points, 1) + 0.0:.1f}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _n(paired: PairedAurocs) -> str:
    of = "" if paired.patients == paired.n else f" of {paired.patients:,} patients"
    return f"{paired.n:,} test images{of}"


def _about(count: int) -> str:
    """Round up to two digits: the variance that it rests on is not known any better."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return f"{math.ceil(count / unit) * unit:,}"
