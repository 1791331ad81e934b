"""The pictures of a comparison's page: where each line, mark and label goes.

In: the records of a comparison. Out: coordinates in px for the macros of `comparison_charts.html.j2`, which draw them
as inline SVG. Nothing here has a colour: the style of the page gives them, light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.comparison import DiseaseComparison, Side
from tasks.core.cost import finite
from tasks.core.paired import MARGIN

#: Width of a strip, and the most points that it reaches to either side: further ends become arrows.
STRIP_PX, STRIP_PAD = 280.0, 8.0
REACHES = (5, 10, 20, 30)
#: Side of a ROC picture, its margin at left and bottom for ticks, and at top and right.
ROC_PX, ROC_MARGIN, ROC_PAD = 320.0, 46.0, 12.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Strip:
    """A difference with its interval on an axis that all diseases share.

    Attributes:
        width: of the whole.
        zero: where no difference lies.
        band: where the margin begins and ends within which two profiles are equivalent.
        ticks: of the axis, in points.
        value: where the difference lies.
        low: where its interval begins.
        high: where it ends.
        beyond: whether the interval goes on beyond the axis, at the left and at the right.
    """

    width: float
    zero: float
    band: tuple[float, float]
    ticks: tuple[Tick, ...]
    value: float
    low: float
    high: float
    beyond: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Roc:
    """The ROC curves of two profiles over each other.

    Attributes:
        side: of the whole.
        left: of the plot.
        right: of the plot.
        top: of the plot.
        bottom: of the plot.
        ticks: of both axes, from 0 to 1: along x, along y.
        lines: paths of the first and of the second profile, one per seed.
        marks: their operating points; None where a rate is not defined.
    """

    side: float
    left: float
    right: float
    top: float
    bottom: float
    ticks: tuple[tuple[Tick, ...], tuple[Tick, ...]]
    lines: tuple[tuple[str, ...], tuple[str, ...]]
    marks: tuple[tuple[float, float] | None, tuple[float, float] | None]


def strips(diseases: Sequence[DiseaseComparison]) -> dict[str, Strip]:
    """Return the strip of each disease that has an interval, by its key."""
    found = {one.disease: ends for one in diseases if (ends := _points(one)) is not None}
    furthest = max((abs(end) for ends in found.values() for end in ends), default=0.0)
    reach = next((reach for reach in REACHES if furthest <= reach), REACHES[-1])
    half = STRIP_PX / 2 - STRIP_PAD

    def at(points: float) -> float:
        return _px(STRIP_PX / 2 + half * min(max(points / reach, -1.0), 1.0))

    margin = 100 * MARGIN
    ticks = tuple(Tick(at(points), f"{points:+g}" if points else "0") for points in (-reach, 0, reach))
    return {
        key: Strip(
            width=STRIP_PX,
            zero=at(0),
            band=(at(-margin), at(margin)),
            ticks=ticks,
            value=at(value),
            low=at(low),
            high=at(high),
            beyond=(low < -reach, high > reach),
        )
        for key, (low, value, high) in found.items()
    }


def roc(sides: Sequence[Side]) -> Roc | None:
    """Return the curves of both sides; None where neither has one, because the test rows hold one class only."""
    if not any(side.curves for side in sides):
        return None
    left, right, top, bottom = ROC_MARGIN, ROC_PX - ROC_PAD, ROC_PAD, ROC_PX - ROC_MARGIN

    def x(rate: float) -> float:
        return _px(left + (right - left) * rate)

    def y(rate: float) -> float:
        return _px(bottom - (bottom - top) * rate)

    def mark(side: Side) -> tuple[float, float] | None:
        rates = [side.estimates.get(name) for name in ("specificity", "sensitivity")]
        values = [None if rate is None else finite(rate.value) for rate in rates]
        return None if None in values else (x(1 - (values[0] or 0.0)), y(values[1] or 0.0))

    shares = [step / 5 for step in range(6)]
    first, second = (
        tuple("M" + "L".join(f"{x(false):g} {y(true):g}" for false, true in curve) for curve in side.curves)
        for side in sides
    )
    return Roc(
        side=ROC_PX,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        ticks=(
            tuple(Tick(x(share), f"{share:g}") for share in shares),
            tuple(Tick(y(share), f"{share:g}") for share in shares),
        ),
        lines=(first, second),
        marks=(mark(sides[0]), mark(sides[1])),
    )


def _points(one: DiseaseComparison) -> tuple[float, float, float] | None:
    paired = one.paired
    if paired is None or paired.low is None or paired.high is None or paired.difference is None:
        return None
    return 100 * paired.low, 100 * paired.difference, 100 * paired.high


def _px(value: float) -> float:
    return round(value, 1)
