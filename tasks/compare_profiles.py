"""Stage: runs of two profiles -> a comparison: figures, prices and verdicts, and the mistakes that are worth a look.

In: the runs that `find_runs` matched; scores are those that evaluation wrote, so no test row is scored again. Out: the
comparison, and the mistakes, whose pictures stay on this machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.compare_models import time_models
from tasks.core.comparison import Comparison, DiseaseComparison, Runs, compare_rows
from tasks.core.cost import typical_cost
from tasks.core.mistakes import Mistake
from tasks.core.settings import Settings
from tasks.core.verdict import conclude
from tasks.find_runs import CompletedRun, Match
from tasks.price_runs import architecture, cost_of, seconds_per_row
from tasks.progress import report
from tasks.run_folder import MODEL
from tasks.show_mistakes import show_mistakes
from tasks.tracking import Tracker
from tasks.worker import Worker


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison came to.

    Attributes:
        comparison: figures and verdicts.
        mistakes: by disease; their pictures are for this machine alone.
        run_ids: of all runs that were compared.
    """

    comparison: Comparison
    mistakes: Mapping[str, tuple[Mistake, ...]]
    run_ids: tuple[str, ...]


class _Models:
    """One model for each architecture, its speed and the price of its features, found once for all diseases."""

    def __init__(self, worker: Worker, tracker: Tracker) -> None:
        self._worker, self._tracker = worker, tracker
        self._folders: dict[tuple[Any, ...], Path] = {}
        self._speeds: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        self._paces: dict[tuple[Any, ...], float | None] = {}

    def folder(self, run: CompletedRun) -> Path:
        """Return the folder of a model that differs from this run's in nothing but what was trained of it."""
        return self._folders.setdefault(architecture(run.plan), run.folder.path / MODEL)

    def pace(self, run: CompletedRun) -> float | None:
        """Return the seconds that features of one image take; None where no run is known to have computed them."""
        key = architecture(run.plan)
        if key not in self._paces:
            self._paces[key] = seconds_per_row(self._tracker, run.plan)
        return self._paces[key]

    def speeds(self, runs: Sequence[CompletedRun]) -> list[dict[str, Any]]:
        """Return how fast the models of two runs answer, timed in turn."""
        key = tuple(architecture(run.plan) for run in runs)
        if key not in self._speeds:
            timed = self._worker.ask(time_models, [self.folder(run) for run in runs])
            self._speeds[key] = [dataclasses.asdict(speed) for speed in timed]
        return self._speeds[key]


@task(name="compare-profiles", cache_policy=NO_CACHE)
def compare_profiles(
    worker: Worker, tracker: Tracker, settings: Settings, profiles: tuple[str, str], matches: Sequence[Match]
) -> Compared:
    """Compare two profiles on every disease that has runs of both, and say why the others have none.

    Raises:
        ComparisonRefused: a model cannot be loaded.
        TrackingError: MLflow cannot be reached.
        WorkerDied: the process that holds TensorFlow was ended.
    """
    models = _Models(worker, tracker)
    diseases: list[DiseaseComparison] = []
    mistakes: dict[str, tuple[Mistake, ...]] = {}
    for number, match in enumerate(matches):
        report("train", number, len(matches))
        if match.reason:
            diseases.append(
                DiseaseComparison(match.disease, match.title, reason=match.reason, warnings=match.warnings)
            )
            continue
        latest = [side[0] for side in match.sides]
        shown = show_mistakes(worker, settings, match, [models.folder(run) for run in latest])
        mistakes[match.disease] = shown
        diseases.append(_compared(models, match, shown))
    report("train", len(matches), len(matches))
    run_ids = [run.found.run_id for match in matches for side in match.sides for run in side]
    return Compared(conclude(profiles, diseases), mistakes, tuple(run_ids))


def _compared(models: _Models, match: Match, mistakes: Sequence[Mistake]) -> DiseaseComparison:
    latest = [side[0] for side in match.sides]
    rows = latest[0].folder.rows
    speeds = models.speeds(latest)
    first, second = (_runs(models, side, speed) for side, speed in zip(match.sides, speeds, strict=True))
    return compare_rows(
        match.disease,
        match.title,
        labels=rows.labels,
        patients=rows.groups,
        first=first,
        second=second,
        shortcuts=latest[0].folder.shortcuts,
        warnings=(*match.warnings, *_prices_to_know(match, (first, second)), *_unseen(mistakes)),
    )


def _runs(models: _Models, side: Sequence[CompletedRun], speed: Mapping[str, Any]) -> Runs:
    costs = [cost_of(run, pace=models.pace(run), speed=speed) for run in side]
    return Runs(
        profile=side[0].plan.profile,
        run_ids=[run.found.run_id for run in side],
        seeds=[run.plan.seed for run in side],
        scores=np.stack([run.folder.scores for run in side]),
        thresholds=[run.folder.threshold for run in side],
        estimates=[run.folder.estimates for run in side],
        cost=typical_cost(costs),
    )


def _prices_to_know(match: Match, sides: Sequence[Runs]) -> list[str]:
    """Say what the seconds of a profile leave out."""
    said = []
    for side, (run, *_) in zip(sides, match.sides, strict=True):
        if side.cost.features_s is None:
            said.append(
                f"What extracting the features of {side.profile} took is not known, for no recorded run computed any: "
                "its seconds are those of training alone."
            )
        if run.plan.figures.teacher:
            said.append(
                f"The seconds of {side.profile} are its own: those of its teacher {run.plan.figures.teacher} come on top."
            )
    return said


def _unseen(mistakes: Sequence[Mistake]) -> list[str]:
    count = sum(mistake.thumbnail is None for mistake in mistakes)
    if not count:
        return []
    return [
        f"{count} of the {len(mistakes)} images of mistakes cannot be shown: they are neither in the cache nor, "
        "unchanged, below the data root."
    ]
