"""The figures of a comparison: ROC curves of two profiles over each other, and what each point of AUROC costs.

In: what was compared. Out: PNG bytes. Drawn with matplotlib's objects, never with pyplot, whose figures are global.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

from tasks.core.card import interval
from tasks.core.comparison import Comparison, DiseaseComparison, Side
from tasks.core.figures import BLUE, DPI, GREY, INK, SMALL_PT, TEXT_PT, TITLE_PT, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, HEIGHT_IN = 6.4, 6.4
_COLOURS, _MARKS = (BLUE, VERMILION), ("o", "s")
_TITLE_COLUMNS = 64


def roc_figure(one: DiseaseComparison) -> bytes | None:
    """Draw the ROC curves of both profiles on the same test rows, every seed; None where there is no curve."""
    if not any(side.curves for side in one.sides):
        return None
    figure, axes = _figure(one.title)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    for side, colour in zip(one.sides, _COLOURS, strict=True):
        for number, curve in enumerate(side.curves):
            x, y = zip(*curve, strict=True)
            label = _legend(side) if number == 0 else None
            axes.plot(x, y, color=colour, linewidth=1.8, alpha=0.85, label=label, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("1 - specificity", size=TEXT_PT, color=INK)
    axes.set_ylabel("sensitivity", size=TEXT_PT, color=INK)
    axes.legend(loc="lower right", fontsize=SMALL_PT, framealpha=0.85, edgecolor="none", labelcolor=INK)
    count = one.paired.n if one.paired else 0
    return _drawn(figure, f"n = {count:,} test images, positives = {one.n_positive:,}, not for diagnosis")


def price_figure(comparison: Comparison) -> bytes | None:
    """Draw AUROC over the seconds from pixels to a trained model; None where no run has both.

    A line joins the two profiles of a disease; a filled mark is on the front: no other is as fast and as good.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    known = [one for one in comparison.diseases if any(_place(side) for side in one.sides)]
    if not known:
        return None
    figure, axes = _figure(f"What {' and '.join(comparison.profiles)} cost")
    for one in known:
        points = [place for side in one.sides if (place := _place(side))]
        axes.plot(*zip(*points, strict=True), color=GREY, linewidth=1, zorder=1)
        front = one.to_json()["pareto"]
        for side, colour, mark in zip(one.sides, _COLOURS, _MARKS, strict=True):
            place = _place(side)
            if place:
                face = colour if side.profile in front else "white"
                axes.scatter(
                    *place, s=60, marker=mark, facecolor=face, edgecolor=colour, linewidth=1.8, zorder=3
                )
        right = max(points)
        axes.annotate(
            one.disease,
            right,
            xytext=(8, 0),
            textcoords="offset points",
            size=SMALL_PT,
            color=INK,
            va="center",
        )
    for profile, colour, mark in zip(comparison.profiles, _COLOURS, _MARKS, strict=True):
        axes.scatter([], [], s=60, marker=mark, facecolor=colour, edgecolor=colour, label=profile)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.3, y=0.1)
    axes.set_xlabel("seconds from pixels to a trained model, features included", size=TEXT_PT, color=INK)
    axes.set_ylabel("AUROC on test rows", size=TEXT_PT, color=INK)
    axes.legend(loc="best", fontsize=SMALL_PT, framealpha=0.85, edgecolor="none", labelcolor=INK)
    return _drawn(figure, "filled: no other is as fast and as good; not for diagnosis")


def _figure(title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0.115, 0.135, 0.84, 0.765))
    said = textwrap.shorten(title, width=2 * _TITLE_COLUMNS - 20, placeholder=" ...")
    figure.text(
        0.5, 0.98, textwrap.fill(said, _TITLE_COLUMNS), ha="center", va="top", size=TITLE_PT - 2, weight="bold",
        color=INK, parse_math=False,
    )  # fmt: skip
    axes.tick_params(labelsize=SMALL_PT, colors=INK, which="both")
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _drawn(figure: Figure, footer: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.text(0.5, 0.015, footer, ha="center", va="bottom", size=SMALL_PT, color=INK)
    png = io.BytesIO()
    # The Software entry holds matplotlib's version: without it the bytes depend on the picture only.
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    return png.getvalue()


def _legend(side: Side) -> str:
    seeds = f", {len(side.seeds)} seeds" if len(side.seeds) > 1 else ""
    known = side.estimates.get("auroc")
    said = f"AUROC {interval(known, digits=2)}" if known else f"AUROC {side.auroc or 0.0:.2f}"
    return f"{side.profile}{seeds}: {said}"


def _place(side: Side) -> tuple[float, float] | None:
    seconds, auroc = side.cost.seconds, side.auroc
    return None if seconds is None or auroc is None else (max(seconds, 1e-3), auroc)
