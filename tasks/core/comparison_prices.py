"""The picture of score over price: every profile on every disease, and which of them is beaten.

In: the records of a comparison. Out: coordinates in px for `draw_prices` of `comparison_charts.html.j2`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from data_checks.visible import shortened
from tasks.core.comparison import DiseaseComparison
from tasks.core.comparison_charts import Tick
from tasks.core.cost import finite, pareto

#: Width of the picture on a desk and on a phone, and the most characters of a label there.
WIDE, NARROW = (1100.0, 32), (330.0, 13)
#: Its least height, and its margins at left and bottom, where the ticks are, and at the top.
HEIGHT, MARGIN, PAD = 420.0, 46.0, 12.0
#: Height of a label, of one of its characters the width, and what lies between plot and label.
LABEL_PX, CHARACTER_PX, GAP = 16.0, 8.0, 14.0
#: Shorter trainings are drawn as this long, for 0 has no logarithm.
LEAST_S = 0.01
_MINUTE, _HOUR = 60, 3600
_TIMES = ((0.01, "10 ms"), (0.1, "0.1 s"), (1, "1 s"), (10, "10 s"), (_MINUTE, "1 min"), (10 * _MINUTE, "10 min"),
          (_HOUR, "1 h"), (10 * _HOUR, "10 h"), (100 * _HOUR, "100 h"), (1000 * _HOUR, "1000 h"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spot:
    """One profile on one disease: place, ends of its interval, whether the other profile beats it in price and score."""

    side: int
    x: float
    y: float
    low: float | None
    high: float | None
    beaten: bool
    seconds: float
    auroc: float


@dataclass(frozen=True, slots=True)
class Named:
    """The spots of a disease, its name at the right, and the line that leads there."""

    disease: str
    text: str
    spots: tuple[Spot, ...]
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Prices:
    """AUROC over seconds of every disease and profile, seconds on a logarithmic axis."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    named: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """One profile on one disease whose seconds and AUROC are known."""

    side: int
    seconds: float
    auroc: float
    low: float | None
    high: float | None
    beaten: bool


def prices(diseases: Sequence[DiseaseComparison], *, size: tuple[float, int]) -> Prices | None:
    """Return score over price of every disease and profile whose seconds and AUROC are known; None where none is.

    Args:
        diseases: of the comparison.
        size: `WIDE` or `NARROW`.
    """
    known = {one.disease: found for one in diseases if (found := _known(one))}
    every = [one for found in known.values() for one in found]
    if not every:
        return None
    width, longest = size
    labels = {key: _label(key, longest) for key in known}
    left, right, top = MARGIN, width - GAP - CHARACTER_PX * max(map(len, labels.values())), PAD
    height = max(HEIGHT, LABEL_PX * len(known) + PAD + MARGIN)
    bottom = height - MARGIN
    times = [math.log10(one.seconds) for one in every]
    early, late = min(times) - 0.3, max(times) + 0.3
    worst, best, step = _scores([end for one in every for end in (one.low, one.auroc, one.high)])

    def x(seconds: float) -> float:
        return _px(left + (right - left) * (math.log10(seconds) - early) / (late - early))

    def y(auroc: float) -> float:
        return _px(bottom - (bottom - top) * (auroc - worst) / (best - worst))

    placed = {
        key: tuple(
            Spot(
                side=one.side,
                x=x(one.seconds),
                y=y(one.auroc),
                low=None if one.low is None else y(one.low),
                high=None if one.high is None else y(one.high),
                beaten=one.beaten,
                seconds=one.seconds,
                auroc=one.auroc,
            )
            for one in found
        )
        for key, found in known.items()
    }
    heights = _apart(
        {key: max(found, key=lambda spot: spot.x).y for key, found in placed.items()}, top, bottom
    )
    ticks = [Tick(x(seconds), text) for seconds, text in _TIMES if early <= math.log10(seconds) <= late]
    count = round((best - worst) / step)
    return Prices(
        width=width,
        height=height,
        left=left,
        right=_px(right),
        top=top,
        bottom=bottom,
        x_ticks=tuple(ticks[:: 1 if size == WIDE else math.ceil(len(ticks) / 4) or 1]),
        y_ticks=tuple(Tick(y(worst + n * step), f"{worst + n * step:.2f}") for n in range(count + 1)),
        named=tuple(
            Named(disease=key, text=labels[key], spots=found, x=_px(right + GAP), y=heights[key])
            for key, found in placed.items()
        ),
    )


def _known(one: DiseaseComparison) -> tuple[_Known, ...]:
    front = pareto([(side.cost.seconds, side.auroc) for side in one.sides])
    found = []
    for place, (side, kept) in enumerate(zip(one.sides, front, strict=True)):
        seconds, auroc = finite(side.cost.seconds), finite(side.auroc)
        if seconds is not None and auroc is not None:
            interval = side.estimates.get("auroc")
            low, high = (None, None) if interval is None else (interval.low, interval.high)
            found.append(_Known(place, max(seconds, LEAST_S), auroc, low, high, beaten=not kept))
    return tuple(found)


def _scores(values: Sequence[float | None]) -> tuple[float, float, float]:
    """Return bottom, top and step of an axis that holds all values and ends at 1 at most."""
    known = [min(max(value, 0.0), 1.0) for value in values if value is not None]
    span = max(known) - min(known)
    step = next(step for step in (0.02, 0.05, 0.1, 0.2) if span <= 7 * step or step == 0.2)
    worst = math.floor(min(known) / step + 1e-9) * step
    best = min(1.0, math.ceil(max(known) / step - 1e-9) * step)
    return max(0.0, worst if best > worst else worst - step), best, step


def _apart(wanted: dict[str, float], top: float, bottom: float) -> dict[str, float]:
    """Return heights near those wanted, at least a line apart and within the plot; there is room for all."""
    order = sorted(wanted, key=lambda key: wanted[key])
    placed: dict[str, float] = {}
    lowest = top
    for key in order:
        placed[key] = max(wanted[key], lowest)
        lowest = placed[key] + LABEL_PX
    highest = bottom
    for key in reversed(order):
        placed[key] = _px(min(placed[key], highest))
        highest = placed[key] - LABEL_PX
    return placed


def _label(text: str, longest: int) -> str:
    said = shortened(text, 4 * longest)
    return said if len(said) <= longest else said[: longest - 1] + "…"


def _px(value: float) -> float:
    return round(value, 1)
