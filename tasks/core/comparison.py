"""What two profiles come to on the same test rows: figures and price of each, disease by disease.

In: labels, patients and scores of the test rows, and what the runs cost. Out: records and their JSON; the sentences
and the correction for several diseases are in `verdict`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from data_checks.report import Audited
from tasks.core.cost import Cost, finite, pareto
from tasks.core.curves import Floats, Labels, roc_curve
from tasks.core.delong import checked_scores
from tasks.core.metrics import Estimate
from tasks.core.paired import McNemar, PairedAurocs, compare_aurocs, images_needed, mcnemar

#: Points of the ROC curves of one side, all seeds together: more do not show on a page.
CURVE_POINTS = 200
ONE_SEED = "Each profile was trained with one seed: what another seed would change is not in the interval."

#: What may be said of a disease; `undefined` where nothing could be tested.
Decision = Literal["better", "equivalent", "not_shown", "undefined"]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The runs of one profile on one disease that are compared, one per seed.

    Attributes:
        profile: key of the catalog.
        run_ids: of MLflow.
        seeds: they were trained with.
        scores: (seeds, n) float, 0-1, of the test rows.
        thresholds: each run's operating point, from its validation rows.
        estimates: each run's metrics on the test rows, as `evaluation.json` has them.
        cost: typical of these runs, see `typical_cost`.
    """

    profile: str
    run_ids: Sequence[str]
    seeds: Sequence[int]
    scores: ArrayLike
    thresholds: Sequence[float]
    estimates: Sequence[Mapping[str, Estimate]] = ()
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True)
class Side:
    """One profile on one disease.

    Attributes:
        profile: key of the catalog.
        run_ids: of MLflow, one per seed.
        seeds: of the runs.
        aurocs: of each run on the test rows; empty where they hold one class only.
        thresholds: each run's operating point.
        estimates: every metric with its interval; of several runs the mean of values and of ends.
        cost: what it took.
        curves: ROC curve of each run, as (false positive rate, sensitivity); together at most `CURVE_POINTS` points.
    """

    profile: str
    run_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    aurocs: tuple[float, ...]
    thresholds: tuple[float, ...]
    estimates: Mapping[str, Estimate]
    cost: Cost
    curves: tuple[tuple[tuple[float, float], ...], ...] = ()

    @property
    def auroc(self) -> float | None:
        """Mean over seeds; None where there is none."""
        return statistics.fmean(self.aurocs) if self.aurocs else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation between seeds; None with fewer than two."""
        return statistics.stdev(self.aurocs) if len(self.aurocs) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """Return the side's part of `--json`, curves left out."""
        return {
            "run_ids": list(self.run_ids),
            "seeds": list(self.seeds),
            "auroc": finite(self.auroc),
            "deviation": finite(self.deviation),
            "aurocs": [finite(value) for value in self.aurocs],
            "thresholds": list(self.thresholds),
            "test": {name: estimate.to_json() for name, estimate in self.estimates.items()},
        }


@dataclass(frozen=True, slots=True)
class DiseaseComparison:
    """Two profiles on one disease; differences are the first less the second.

    Attributes:
        disease: key of the catalog.
        title: as the catalog has it.
        n_positive: test images with the disease.
        sides: first and second; empty where they could not be compared.
        paired: AUROCs, difference, interval, p-value, number of test images and patients; None where not compared.
        mcnemar: who is right more often at the operating points.
        images_needed: test images that would show two AUROC points; None where that is not known.
        shortcuts: what the label could be told from without the anatomy, on training and validation images.
        warnings: what else the reader must know; names no file and no patient.
        p_holm: the p-value corrected for the number of diseases; None where nothing was tested.
        tested: diseases that it is corrected for.
        decision: what the figures come to.
        better: profile that is better; None unless the decision is `better`.
        verdict: one sentence.
        reason: why the profiles could not be compared.
    """

    disease: str
    title: str
    n_positive: int = 0
    sides: tuple[Side, ...] = ()
    paired: PairedAurocs | None = None
    mcnemar: McNemar | None = None
    images_needed: int | None = None
    shortcuts: tuple[Audited, ...] = ()
    warnings: tuple[str, ...] = ()
    p_holm: float | None = None
    tested: int = 0
    decision: Decision = "undefined"
    better: str | None = None
    verdict: str = ""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the disease's part of `--json`."""
        paired = self.paired or PairedAurocs(n=0, patients=0)
        share = self.n_positive / paired.n if paired.n else None
        front = pareto([(side.cost.seconds, side.auroc) for side in self.sides])
        return {
            "title": self.title,
            "verdict": self.verdict,
            "decision": self.decision,
            "better": self.better,
            "reason": self.reason or paired.reason or None,
            "difference": finite(paired.difference),
            "interval": None if paired.low is None else [paired.low, paired.high],
            "p_value": finite(paired.p_value),
            "p_holm": finite(self.p_holm),
            "corrected_for": self.tested,
            "n_test": paired.n,
            "n_patients": paired.patients,
            "n_positive": self.n_positive,
            "images_needed": self.images_needed,
            "mcnemar": None if self.mcnemar is None else dataclasses.asdict(self.mcnemar),
            "profiles": {side.profile: side.to_json() for side in self.sides},
            "costs": {side.profile: side.cost.to_json() for side in self.sides},
            "pareto": [side.profile for side, kept in zip(self.sides, front, strict=True) if kept],
            "baselines": {
                "prevalence": None if share is None else _constant(share),
                **{audited.probe: audited.to_json() for audited in self.shortcuts},
            },
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two profiles on all diseases asked for.

    Attributes:
        profiles: keys of first and second, which differ.
        diseases: in catalog order, with their verdicts.
    """

    profiles: tuple[str, str]
    diseases: tuple[DiseaseComparison, ...]

    def __post_init__(self) -> None:
        """Refuse to compare a profile with itself: nothing would tell its two columns apart."""
        if self.profiles[0] == self.profiles[1]:
            raise ValueError(f"Expected two different profiles, received {self.profiles[0]!r} twice.")

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints; it holds no NaN."""
        return {
            "not_for_diagnosis": True,
            "profiles": list(self.profiles),
            "diseases": {one.disease: one.to_json() for one in self.diseases},
        }


def compare_rows(
    disease: str,
    title: str,
    *,
    labels: ArrayLike,
    patients: ArrayLike,
    first: Runs,
    second: Runs,
    shortcuts: Sequence[Audited] = (),
    warnings: Sequence[str] = (),
) -> DiseaseComparison:
    """Measure two profiles against each other on the test rows of one disease; `verdict.conclude` does the rest.

    Args:
        disease: key of the catalog.
        title: as the catalog has it.
        labels: (n,) 0 or 1, of the test rows.
        patients: (n,) str or integer.
        first: runs whose scores are of these rows, in their order.
        second: the same.
        shortcuts: the audit of the manifest that both were trained on.
        warnings: sentences to stand beside the figures.

    Raises:
        ValueError: bad labels, patients or scores, or runs, seeds, scores and thresholds that differ in number.
    """
    one, two = _checked(labels, first), _checked(labels, second)
    y = np.asarray(labels).astype(np.int64)
    paired = compare_aurocs(y, patients, one, two)
    right = [_right(y, scores, runs.thresholds) for scores, runs in ((one, first), (two, second))]
    single = (ONE_SEED,) if paired.first and len(one) == len(two) == 1 else ()
    return DiseaseComparison(
        disease=disease,
        title=title,
        n_positive=int(y.sum()),
        sides=(_side(first, y, one, paired.first), _side(second, y, two, paired.second)),
        paired=paired,
        mcnemar=mcnemar(right[0], right[1], patients),
        images_needed=images_needed(paired),
        shortcuts=tuple(shortcuts),
        warnings=(*warnings, *single),
    )


def _checked(labels: ArrayLike, runs: Runs) -> Floats:
    _, scores = checked_scores(labels, runs.scores)
    counts = {len(scores), len(runs.run_ids), len(runs.seeds), len(runs.thresholds)}
    if len(counts) > 1 or len(runs.estimates) not in (0, len(scores)):
        raise ValueError(
            f"Expected scores, run, seed, threshold and metrics of each run of {runs.profile}, received "
            f"{len(scores)}, {len(runs.run_ids)}, {len(runs.seeds)}, {len(runs.thresholds)} "
            f"and {len(runs.estimates)}."
        )
    return scores


def _right(labels: Labels, scores: Floats, thresholds: Sequence[float]) -> np.ndarray:
    return (scores >= np.asarray(thresholds)[:, None]) == (labels == 1)


def _side(runs: Runs, labels: Labels, scores: Floats, aurocs: tuple[float, ...]) -> Side:
    points = CURVE_POINTS // len(scores)
    return Side(
        profile=runs.profile,
        run_ids=tuple(runs.run_ids),
        seeds=tuple(runs.seeds),
        aurocs=aurocs,
        thresholds=tuple(float(threshold) for threshold in runs.thresholds),
        estimates=_mean_estimates(runs.estimates),
        cost=runs.cost,
        curves=tuple(_thinned_curve(labels, model, points) for model in scores) if aurocs else (),
    )


def _thinned_curve(labels: Labels, scores: Floats, points: int) -> tuple[tuple[float, float], ...]:
    """Return points of the curve at even steps of its length, corners (0, 0) and (1, 1) included."""
    curve = roc_curve(labels, scores)
    length = curve.false_positive_rate + curve.sensitivity  # 0 ... 2, rising
    kept = np.unique(np.searchsorted(length, np.linspace(0, 2, points) - 1e-9))
    x, y = curve.false_positive_rate[kept].tolist(), curve.sensitivity[kept].tolist()
    return tuple(zip(x, y, strict=True))


def _mean_estimates(runs: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """Return the mean of values and ends over runs: a typical run's interval, which knows nothing of seeds."""
    means = {}
    for name in runs[0] if runs else ():
        values = [run[name] for run in runs]
        ends = [[one.low for one in values], [one.high for one in values]]
        low, high = (None if None in end else statistics.fmean(end) for end in ends)  # type: ignore[arg-type]
        means[name] = Estimate(
            statistics.fmean(one.value for one in values), low, high, min(one.n for one in values)
        )
    return means


def _constant(share: float) -> dict[str, float]:
    """Return what a constant score comes to that is the share of positives among the test rows: the best constant."""
    return {"auroc": 0.5, "average_precision": share, "brier": share * (1 - share)}
