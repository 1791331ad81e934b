"""The tables of a comparison's page: which columns there are, what stands in a cell, and what it is sorted by.

In: the records of a comparison. Out: cells of plain text. A figure that is not known is a cell without text, never
NaN and never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from data_checks.contract import PROBES
from data_checks.report import Audited
from tasks.core.comparison import DiseaseComparison, Side
from tasks.core.comparison_words import duration, p_value, points, share, size, span
from tasks.core.cost import finite
from tasks.core.metrics import Estimate
from tasks.core.verdict import price_of

#: What the probes of the shortcut audit look at, as a heading.
PROBE_NAMES = {
    "file_size": "file size",
    "dimensions": "image size",
    "format": "format",
    "mode": "pixel kind",
    "border": "border",
    "thumbnail": "8 x 8 thumbnail",
}
_ALONE = "McNemar: right alone"


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table shows of one figure of one disease.

    Attributes:
        text: the figure; empty where it is not known.
        value: what the column is sorted by; None sorts last.
        notes: lines below it, such as its interval and its n.
    """

    text: str = ""
    value: float | str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        cell: what it shows of a disease that has both sides.
        group: heading above its own; neighbours with the same one share it.
        side: 0 or 1 where it is of one profile, whose colour it bears.
        number: whether it is sorted as numbers.
    """

    name: str
    cell: Callable[[DiseaseComparison], Cell]
    group: str = ""
    side: int | None = None
    number: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a row for each disease; its first column, the disease, is left to the page."""

    key: str
    title: str
    caption: str
    columns: tuple[Column, ...]

    def groups(self) -> list[tuple[str, int]]:
        """Return the headings of the upper row with the number of columns that each spans."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if column.group and found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found


def tables(profiles: tuple[str, str], diseases: Sequence[DiseaseComparison]) -> list[Table]:
    """Return all tables of a comparison; between them they show every figure that its profiles have in common.

    Args:
        profiles: keys of first and second.
        diseases: those that have both sides.
    """
    both = partial(_both, profiles)
    aurocs = both("AUROC", _auroc)
    probes = [probe for probe in PROBES if any(_audited(one, probe) for one in diseases)]
    first, second = profiles
    return [
        Table("summary", "Summary", f"Difference: AUROC of {first} less that of {second}, in points of a hundredth, tested in "
              "pairs on the same test images. Holm: p corrected for the number of diseases. Times include features.",
              (Column("Verdict", _decision, number=False), Column("Test images", _rows), *aurocs,
               Column("points", _difference, "Difference"), Column("p", _p_value, "Difference"),
               Column("Holm", _p_holm, "Difference"), *both("Time to train", _seconds), Column("Ratio", _ratio))),
        Table("point", "Operating point", "Each at its own threshold, which was chosen on validation images. McNemar: test "
              "images that only one of the two has right, and the exact p that neither is right more often.",
              (*both("Threshold", _threshold), *both("Sensitivity", partial(_metric, "sensitivity")),
               *both("Specificity", partial(_metric, "specificity")),
               Column(first, partial(_only_right, 0), _ALONE, 0), Column(second, partial(_only_right, 1), _ALONE, 1),
               Column("p", _mcnemar_p, _ALONE))),
        Table("calibration", "Calibration", "Brier score and calibration error: less is better. Constant: what the best score "
              "that is the same for all images comes to, which is the prevalence.",
              (*both("Brier score", partial(_metric, "brier")), Column("constant", _constant_brier, "Brier score"),
               *both("Calibration error", partial(_metric, "calibration_error")),
               *both("Average precision", partial(_metric, "average_precision")),
               Column("constant", _prevalence, "Average precision"))),
        Table("training", "Training", "Measured; the median where a profile has several runs. The ratio is of training and "
              "features together.",
              (*both("Runs", _runs), *both("Training", partial(_cost_s, "training_s")),
               *both("Features", partial(_cost_s, "features_s")), Column("Ratio", _ratio),
               *both("Peak memory", partial(_cost_bytes, "peak_bytes")))),
        Table("use", "Use", "Measured; the median where a profile has several runs. Latency: median of single images.",
              (*both("Parameters", partial(_cost_count, "parameters")),
               *both("of them trained", partial(_cost_count, "trainable_parameters")),
               *both("Model file", partial(_cost_bytes, "file_bytes")), *both("Latency", _latency),
               *both("Throughput", _throughput))),
        Table("baselines", "Baselines", "AUROC of the models on test images, and of what sees no anatomy, or hardly any, on "
              "training and validation images. A constant score has 0.5.",
              (*aurocs, Column("Prevalence", _prevalence),
               *(Column(PROBE_NAMES[probe], partial(_probe, probe), "Without anatomy: AUROC") for probe in probes))),
    ]  # fmt: skip


def measured(estimate: Estimate | None) -> Cell:
    """Return the cell of a metric: value, interval, n."""
    value = None if estimate is None else finite(estimate.value)
    if estimate is None or value is None:
        return Cell()
    return _cell(share(value), value, span(estimate.low, estimate.high), f"n {estimate.n:,}")


def _cell(text: str, value: float, *notes: str) -> Cell:
    return Cell(text, value, tuple(filter(None, notes)))


def _both(profiles: tuple[str, str], group: str, cell: Callable[[Side], Cell]) -> tuple[Column, Column]:
    """Return a figure's columns of first and second profile."""

    def of(place: int) -> Column:
        return Column(profiles[place], lambda one: cell(one.sides[place]), group, place)

    return of(0), of(1)


def _decision(one: DiseaseComparison) -> Cell:
    return Cell(one.decision, one.decision)


def _rows(one: DiseaseComparison) -> Cell:
    if one.paired is None:
        return Cell()
    return _cell(
        f"{one.paired.n:,}", one.paired.n, f"{one.paired.patients:,} patients", f"{one.n_positive:,} positive"
    )


def _auroc(side: Side) -> Cell:
    value, estimate = finite(side.auroc), side.estimates.get("auroc")
    if value is None:
        return Cell()
    ends, n = (None, None), ""
    if estimate is not None:
        ends, n = (estimate.low, estimate.high), f"n {estimate.n:,}"
    return _cell(share(value), value, span(*ends), n, *_of_seeds(side))


def _of_seeds(side: Side) -> tuple[str, ...]:
    deviation = finite(side.deviation)
    return () if deviation is None else (f"{len(side.aurocs)} seeds, sd {share(deviation)}",)


def _difference(one: DiseaseComparison) -> Cell:
    paired = one.paired
    if paired is None or paired.difference is None:
        return Cell()
    ends = (paired.low, paired.high)
    note = "no interval" if None in ends else " to ".join(points(end) for end in ends if end is not None)
    return _cell(points(paired.difference), paired.difference, note)


def _p_value(one: DiseaseComparison) -> Cell:
    value = one.paired.p_value if one.paired else None
    return Cell(p_value(value), value)


def _p_holm(one: DiseaseComparison) -> Cell:
    return Cell(p_value(one.p_holm), one.p_holm)


def _seconds(side: Side) -> Cell:
    seconds = finite(side.cost.seconds)
    return Cell() if seconds is None else Cell(duration(seconds), seconds)


def _ratio(one: DiseaseComparison) -> Cell:
    """Sorted by how many times faster the first one is."""
    price = price_of(*one.sides)
    if price.ratio is None:
        return Cell()
    if price.cheaper is None:
        return Cell("about 1", 1.0)
    faster = price.cheaper == one.sides[0].profile
    return _cell(price.times, price.ratio if faster else 1 / price.ratio, f"{price.cheaper} is faster")


def _threshold(side: Side) -> Cell:
    if not side.thresholds:
        return Cell()
    mean = sum(side.thresholds) / len(side.thresholds)
    return _cell(share(mean), mean, f"mean of {len(side.thresholds)}" if len(side.thresholds) > 1 else "")


def _metric(name: str, side: Side) -> Cell:
    return measured(side.estimates.get(name))


def _only_right(place: int, one: DiseaseComparison) -> Cell:
    if one.mcnemar is None:
        return Cell()
    images = (one.mcnemar.only_first, one.mcnemar.only_second)[place]
    return _cell(f"{images:,.1f}".removesuffix(".0"), images, f"of {one.mcnemar.n:,}")


def _mcnemar_p(one: DiseaseComparison) -> Cell:
    value = one.mcnemar.p_value if one.mcnemar else None
    return Cell(p_value(value), value)


def _prevalence(one: DiseaseComparison) -> Cell:
    if one.paired is None or not one.paired.n:
        return Cell()
    prevalence = one.n_positive / one.paired.n
    return _cell(share(prevalence), prevalence, f"n {one.paired.n:,}")


def _constant_brier(one: DiseaseComparison) -> Cell:
    prevalence = _prevalence(one)
    if not isinstance(prevalence.value, float):
        return Cell()
    brier = prevalence.value * (1 - prevalence.value)
    return Cell(share(brier), brier, prevalence.notes)


def _runs(side: Side) -> Cell:
    return Cell(f"{len(side.run_ids):,}", len(side.run_ids))


def _cost_s(name: str, side: Side) -> Cell:
    seconds = finite(getattr(side.cost, name))
    return Cell() if seconds is None else Cell(duration(seconds), seconds)


def _cost_bytes(name: str, side: Side) -> Cell:
    count = finite(getattr(side.cost, name))
    return Cell() if count is None else Cell(size(int(count)), count)


def _cost_count(name: str, side: Side) -> Cell:
    count = finite(getattr(side.cost, name))
    return Cell() if count is None else Cell(f"{count:,.0f}", count)


def _latency(side: Side) -> Cell:
    seconds, repeats = finite(side.cost.latency_s), finite(side.cost.latency_repeats)
    if seconds is None:
        return Cell()
    return _cell(f"{1000 * seconds:,.1f} ms", seconds, f"n {repeats:,.0f}" if repeats else "")


def _throughput(side: Side) -> Cell:
    rate = finite(side.cost.images_per_s)
    return Cell() if rate is None else Cell(f"{rate:,.1f} images/s", rate)


def _audited(one: DiseaseComparison, probe: str) -> Audited | None:
    return next((audited for audited in one.shortcuts if audited.probe == probe), None)


def _probe(probe: str, one: DiseaseComparison) -> Cell:
    audited = _audited(one, probe)
    value = None if audited is None else finite(audited.auroc)
    if audited is None or value is None:
        return Cell()
    return _cell(share(value), value, span(audited.low, audited.high), f"n {audited.n:,}")
