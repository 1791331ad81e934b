"""The evaluation figure: ROC, precision-recall, calibration and confusion matrix in one PNG.

Stands after evaluate: labels, scores, estimates and the operating point in, PNG bytes out. Drawn with matplotlib's
objects, never with pyplot, whose figures are global: several flows may draw at once in threads.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tasks.core.curves import (
    Floats,
    Labels,
    check_labels_and_scores,
    precision_recall_curve,
    reliability,
    roc_curve,
)
from tasks.core.metrics import Estimate
from tasks.core.operating_point import OperatingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue and vermilion of Okabe & Ito (2008): told apart with any kind of colour vision, and in grey.
BLUE, VERMILION, GREY, INK = "#0072B2", "#D55E00", "#8A8A8A", "#222222"
WIDTH_IN, HEIGHT_IN, DPI = 9.0, 9.0, 100  # 900 x 900 px
TEXT_PT, SMALL_PT, TITLE_PT = 10, 9, 13
LARGEST_CURVE = 2000  # Points drawn; more do not show at 900 px and cost time.
TITLE_COLUMNS = 72  # Characters that fit in one line of the title.
# Left, bottom, width, height as shares of the figure. Placed by hand: constrained layout draws everything twice.
ROC_BOX = (0.085, 0.555, 0.385, 0.345)
PRECISION_BOX = (0.585, 0.555, 0.385, 0.345)
RELIABILITY_BOX = (0.085, 0.200, 0.385, 0.255)
COUNT_BOX = (0.085, 0.105, 0.385, 0.075)
CONFUSION_BOX = (0.665, 0.215, 0.305, 0.240)


def evaluation_figure(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    estimates: Mapping[str, Estimate],
    operating_point: OperatingPoint,
    title: str,
) -> bytes:
    """Draw the four panels of one evaluation.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) float, 0-1.
        estimates: what `measure` returned for these rows at the operating point's threshold.
        operating_point: chosen on validation; the marks show what its threshold does on the rows given here.
        title: plain text; two lines of it fit.

    Returns:
        A PNG of 900 x 900 px; the same input gives the same bytes.

    Raises:
        ValueError: bad labels or scores, or estimates that lack a metric or belong to other rows or another
            threshold.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    y, s = check_labels_and_scores(labels, scores)
    _check_estimates(estimates, n=y.size, called=int((s >= operating_point.threshold).sum()))
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    _draw_roc(
        figure.add_axes(ROC_BOX), y, s, estimate=estimates["auroc"], threshold=operating_point.threshold
    )
    _draw_precision_recall(figure.add_axes(PRECISION_BOX), y, s, estimates=estimates)
    _draw_reliability(figure.add_axes(RELIABILITY_BOX), figure.add_axes(COUNT_BOX), y, s, estimates=estimates)
    _draw_confusion(figure.add_axes(CONFUSION_BOX), y, s, threshold=operating_point.threshold)
    _write_operating_point(figure, estimates, operating_point)
    lines = textwrap.shorten(title, width=2 * TITLE_COLUMNS - 20, placeholder=" ...")
    figure.text(
        0.5, 0.985, textwrap.fill(lines, TITLE_COLUMNS), ha="center", va="top", size=TITLE_PT, weight="bold", color=INK,
        parse_math=False,
    )  # fmt: skip
    footer = (
        f"n = {y.size:,}, positives = {y.sum():,}, 95 % intervals by patient bootstrap, not for diagnosis"
    )
    figure.text(0.5, 0.012, footer, ha="center", va="bottom", size=SMALL_PT, color=INK)
    png = io.BytesIO()
    # The Software entry holds matplotlib's version: without it the bytes depend on the picture only.
    canvas.print_png(png, metadata={"Software": None})
    return png.getvalue()


def _check_estimates(estimates: Mapping[str, Estimate], *, n: int, called: int) -> None:
    needed = ("auroc", "average_precision", "calibration_error", "sensitivity", "specificity", "ppv", "npv")
    missing = [name for name in needed if name not in estimates]
    if missing:
        raise ValueError(
            f"Expected estimates as `measure` returns them, received none for {', '.join(missing)}."
        )
    if estimates["auroc"].n != n:
        raise ValueError(
            f"Expected estimates of the same rows, received estimates of {estimates['auroc'].n} images with {n} labels. "
            "Pass the labels and scores that `measure` was called with."
        )
    if estimates["ppv"].n != called:
        raise ValueError(
            f"Expected estimates at the operating point's threshold, which calls {called} images positive, "
            f"received estimates with {estimates['ppv'].n}. Call `measure` with threshold=operating_point.threshold."
        )


def _draw_roc(axes: Axes, labels: Labels, scores: Floats, *, estimate: Estimate, threshold: float) -> None:
    _frame(axes, title="ROC", x="1 - specificity", y="sensitivity", note=f"AUROC {_say(estimate)}")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    if labels.min() == labels.max():
        _say_undefined(axes, "needs positives and negatives")
        return
    curve = roc_curve(labels, scores)
    keep = _thin(curve.sensitivity.size)
    axes.plot(
        curve.false_positive_rate[keep], curve.sensitivity[keep], color=BLUE, linewidth=2, label="all thresholds",
        clip_on=False,
    )  # fmt: skip
    said = scores >= threshold
    axes.plot(
        [said[labels == 0].mean()], [said[labels == 1].mean()], linestyle="none", marker="o", markersize=9, color=VERMILION,
        markeredgecolor="white", label="operating point", clip_on=False, zorder=5,
    )  # fmt: skip
    axes.legend(loc="lower right", fontsize=SMALL_PT, framealpha=0.8, edgecolor="none", labelcolor=INK)


def _draw_precision_recall(
    axes: Axes, labels: Labels, scores: Floats, *, estimates: Mapping[str, Estimate]
) -> None:
    note = f"AP {_say(estimates['average_precision'])}"
    _frame(axes, title="Precision-recall", x="recall (sensitivity)", y="precision (PPV)", note=note)
    prevalence = float(labels.mean())
    axes.axhline(prevalence, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    low = prevalence < 0.9  # Above the line there would be no room.
    axes.text(
        0.015, prevalence + (0.015 if low else -0.015), f"prevalence {_plain(prevalence)}", size=SMALL_PT, color="#555555",
        va="bottom" if low else "top",
    )  # fmt: skip
    if not labels.any():
        _say_undefined(axes, "needs positives")
        return
    curve = precision_recall_curve(labels, scores)
    keep = _thin(curve.recall.size)
    axes.plot(
        np.r_[0.0, curve.recall[keep]], np.r_[curve.precision[0], curve.precision[keep]], color=BLUE, linewidth=2,
        drawstyle="steps-pre", clip_on=False,
    )  # fmt: skip
    if estimates["ppv"].n:
        axes.plot(
            [estimates["sensitivity"].value], [estimates["ppv"].value], linestyle="none", marker="o", markersize=9,
            color=VERMILION, markeredgecolor="white", clip_on=False, zorder=5,
        )  # fmt: skip


def _draw_reliability(
    axes: Axes, below: Axes, labels: Labels, scores: Floats, *, estimates: Mapping[str, Estimate]
) -> None:
    note = f"error {_say(estimates['calibration_error'])}"
    _frame(axes, title="Calibration", x="", y="observed share of positives", note=note)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    bins = reliability(labels, scores)
    filled = bins.count > 0
    axes.plot(
        bins.mean_score[filled], bins.observed_rate[filled], color=BLUE, linewidth=1.5, marker="o", markersize=6,
        clip_on=False,
    )  # fmt: skip
    axes.tick_params(labelbottom=False)
    width = 1 / bins.count.size
    middles = bins.edges[:-1] + width / 2
    below.bar(middles, bins.count, width=0.86 * width, color=BLUE, alpha=0.35)
    for middle, count in zip(middles, bins.count, strict=True):
        height = count + 0.04 * bins.count.max()
        below.text(middle, height, _short(int(count)), ha="center", va="bottom", size=SMALL_PT - 1, color=INK)
    below.set(xlim=(0, 1), ylim=(0, 1.45 * bins.count.max()), yticks=[], xticks=np.linspace(0, 1, 6))
    below.set_xlabel("score", size=TEXT_PT, color=INK)
    below.set_ylabel("images", size=TEXT_PT, color=INK, labelpad=25)
    below.tick_params(labelsize=SMALL_PT, colors=INK)
    below.spines[["top", "right", "left"]].set_visible(False)


def _draw_confusion(axes: Axes, labels: Labels, scores: Floats, *, threshold: float) -> None:
    said = (scores >= threshold).astype(np.int64)
    counts = np.bincount(2 * labels + said, minlength=4).reshape(2, 2)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros((2, 2)), where=totals > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for row in range(2):
        for column in range(2):
            part = f"{shares[row, column]:.0%}" if totals[row, 0] else "-"
            ink = "white" if shares[row, column] > 0.8 else INK
            axes.text(
                column, row - 0.08, f"{counts[row, column]:,}", ha="center", va="center", size=15, color=ink
            )
            axes.text(column, row + 0.22, part, ha="center", va="center", size=TEXT_PT, color=ink)
    axes.set_title("Confusion matrix", size=TEXT_PT + 1, weight="bold", color=INK, loc="left")
    axes.set_xticks([0, 1], ["called negative", "called positive"], size=SMALL_PT)
    axes.set_yticks(
        [0, 1], [f"negative\n(n = {totals[0, 0]:,})", f"positive\n(n = {totals[1, 0]:,})"], size=SMALL_PT
    )
    axes.axhline(0.5, color="white", linewidth=3)
    axes.axvline(0.5, color="white", linewidth=3)
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)


def _write_operating_point(figure: Figure, estimates: Mapping[str, Estimate], point: OperatingPoint) -> None:
    """Write threshold, sensitivity, specificity and predictive values under the confusion matrix."""
    figure.text(
        0.555, 0.155, f"score ≥ {point.threshold:.3g}, chosen on validation for sensitivity {point.wanted_sensitivity:.3g}",
        size=SMALL_PT, color=INK, va="top",
    )  # fmt: skip
    names = {"sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV"}
    for row, (key, name) in enumerate(names.items()):
        height = 0.130 - 0.021 * row
        figure.text(0.555, height, name, size=SMALL_PT, color=INK, va="top")
        figures = f"{_say(estimates[key])}, n = {estimates[key].n:,}"
        figure.text(0.665, height, figures, size=SMALL_PT, color=INK, va="top")


def _frame(axes: Axes, *, title: str, x: str, y: str, note: str) -> None:
    ticks = np.linspace(0, 1, 6)
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=ticks, yticks=ticks)
    axes.set_title(title, size=TEXT_PT + 1, weight="bold", color=INK, loc="left")
    axes.set_title(note, size=SMALL_PT, color=INK, loc="right")
    axes.set_xlabel(x, size=TEXT_PT, color=INK)
    axes.set_ylabel(y, size=TEXT_PT, color=INK)
    axes.tick_params(labelsize=SMALL_PT, colors=INK)
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _say_undefined(axes: Axes, reason: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none"}
    axes.text(
        0.5, 0.5, f"not defined:\n{reason}", ha="center", va="center", size=TEXT_PT, color=INK, bbox=box
    )


def _say(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "not defined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f} (no interval)"
    # Two digits would write a narrow interval as one number: 0.58 (0.58 to 0.58).
    digits = 3 if estimate.high - estimate.low < 0.02 else 2
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


def _plain(share: float) -> str:
    return f"{share:.2f}" if share >= 0.1 else f"{share:.2g}"


def _short(count: int) -> str:
    """Write a count in at most four characters or so: 950, 1.2k, 31k, 2.5M."""
    if count < 1000:
        return str(count)
    scaled, unit = (count / 1e3, "k") if count < 999_500 else (count / 1e6, "M")
    return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"


def _thin(points: int) -> np.ndarray:
    """Return the indices of at most LARGEST_CURVE points, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, points - 1, min(points, LARGEST_CURVE)).round().astype(np.int64))
