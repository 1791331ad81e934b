"""Stage: what was found -> MLflow and Prefect. A run per sweep, below it one per disease, below that one per trial.

In: what was found, or why nothing was. Out: the ids of the runs. Runs of a sweep are tagged `radtrain.sweep`, and not
`radtrain.profile` as those of a training are: a comparison, or a teacher, is not to be found among trials.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.core.errors import TrackingError
from tasks.core.metrics import Estimate
from tasks.core.report import Outcome
from tasks.core.search import Searched, Trial
from tasks.core.search_space import Choice
from tasks.core.sweep_report import SweepReport, rows_of
from tasks.plan_run import Work
from tasks.record_run import Recording
from tasks.tracked_run import FinishedRun
from tasks.tracking import Tracker

_TAGS = {"radtrain.not_for_diagnosis": "true"}
#: What became of a trial -> the state of its run.
_STATUS = {"completed": "FINISHED", "pruned": "KILLED", "diverged": "FAILED"}


@task(name="record-sweep", task_run_name="record {found.disease}", cache_policy=NO_CACHE)
def record_sweep(recording: Recording, work: Work, found: Searched, folder: Path) -> float:
    """Log what was found for a disease, and every trial below it; return the seconds that took.

    Raises:
        TrackingError: MLflow cannot be reached or written; the folder still holds everything.
    """
    began = time.perf_counter()
    tracker = recording.tracker
    tags = _tags(work, found)
    run_id = tracker.start_run(found.disease, tags=tags, parent=recording.run_id)
    try:
        tracker.log_runs((_trial_run(trial, tags) for trial in found.trials), parent=run_id)
        _log_found(tracker, run_id, work, found)
        tracker.log_files(run_id, [folder / "sweep.json"])
    except BaseException:
        with contextlib.suppress(TrackingError):  # the fault that led here is the one to tell
            tracker.end_run(run_id, completed=False)
        raise
    tracker.end_run(run_id, completed=True)
    return time.perf_counter() - began


@task(name="close-sweep", cache_policy=NO_CACHE)
def close_sweep(
    recording: Recording,
    work: Work,
    space: Sequence[Choice],
    report: SweepReport,
    costs: Mapping[str, float],
) -> None:
    """Log the sweep as a whole, show its winners in Prefect, and end its run.

    Raises:
        TrackingError: MLflow cannot be reached or written.
    """
    tracker, run_id = recording.tracker, recording.run_id
    failed = [outcome.disease for outcome in report.failed()]
    figures = work.figures.model_dump()
    moved = figures.pop("augmentation")
    tracker.log(
        run_id,
        params={
            **{f"figures.{name}": value for name, value in figures.items()},
            **{f"figures.augmentation.{name}": value for name, value in moved.items()},
            "profile": work.request.profile,
            "seed": work.request.seed,
            "diseases": ", ".join(work.diseases),
            "weights_digest": work.backbone.weights_digest,
            "trials": report.trials,
            **{f"space.{figure.name}": figure.sentence() for figure in space},
        },
        metrics={
            **{
                f"sweep/difference/{found.disease}": found.paired.difference
                for found in report.searched()
                if found.paired.difference is not None
            },
            **costs,
            "duration_s": report.seconds,
            "diseases_completed": len(report.searched()),
            "diseases_failed": len(failed),
        },
        tags={
            "radtrain.sweep": work.request.profile,
            **({"radtrain.failed": ", ".join(failed)} if failed else {}),
        },
    )
    said = f"{report.message()} Validation rows, not test rows. Not for diagnosis."
    create_table_artifact(table=rows_of(report.results), key="sweep", description=said)
    create_link_artifact(link=tracker.link(run_id), link_text="the run in MLflow", key="sweep-in-mlflow")
    tracker.end_run(run_id, completed=not failed)


@task(name="record-failed-search", task_run_name="record failure of {outcome.disease}", cache_policy=NO_CACHE)
def record_failed_search(recording: Recording, work: Work, outcome: Outcome) -> None:
    """Log a disease for which nothing was found, with its cause.

    Raises:
        TrackingError: MLflow cannot be reached or written.
    """
    tags = {
        **_TAGS,
        "radtrain.sweep": work.request.profile,
        "radtrain.disease": outcome.disease,
        "radtrain.cause": outcome.cause,
    }
    run_id = recording.tracker.start_run(outcome.disease, tags=tags, parent=recording.run_id)
    recording.tracker.end_run(run_id, completed=False)


def _tags(work: Work, found: Searched) -> dict[str, str]:
    return {
        **_TAGS,
        "radtrain.sweep": work.request.profile,
        "radtrain.disease": found.disease,
        "radtrain.manifest": found.manifest,
    }


def _trial_run(trial: Trial, tags: Mapping[str, str]) -> FinishedRun:
    metrics = {
        "sweep/auroc": trial.auroc,
        "sweep/auroc_low": trial.low,
        "sweep/auroc_high": trial.high,
        "sweep/loss": trial.loss,
        "sweep/n": trial.n,
        "sweep/folds": trial.folds,
        "sweep/best_epoch": trial.epoch,
        "sweep/duration_s": trial.duration_s,
    }
    return FinishedRun(
        name="as it is" if trial.number == 0 else f"trial {trial.number}",
        tags={**tags, "radtrain.trial": trial.state},
        params={f"figures.{name}": value for name, value in trial.figures.items()},
        metrics={name: value for name, value in metrics.items() if value is not None},
        began=trial.began,
        duration_s=trial.duration_s,
        status=_STATUS[trial.state],
    )


def _log_found(tracker: Tracker, run_id: str, work: Work, found: Searched) -> None:
    best, own, paired = found.best, found.own, found.paired
    metrics: dict[str, float | None] = {
        "sweep/auroc": best.auroc,
        "sweep/auroc_low": best.low,
        "sweep/auroc_high": best.high,
        "sweep/n": best.n,
        "sweep/own_auroc": own.auroc,
        "sweep/trials": len(found.trials),
        "sweep/trials_pruned": found.count("pruned"),
        "sweep/trials_diverged": found.count("diverged"),
        "sweep/best_trial": best.number,
        "sweep/duration_s": found.search_s,
        "sweep/difference": paired.difference,
        "sweep/difference_low": paired.low,
        "sweep/difference_high": paired.high,
        "sweep/difference_p": paired.p_value,
        **dict(_estimate("validation/auroc", found.best_validation)),
        **dict(_estimate("validation/own_auroc", found.own_validation)),
    }
    params: dict[str, Any] = {f"figures.{name}": value for name, value in best.figures.items()}
    tracker.log(
        run_id,
        params={
            **params,
            **{f"own_figures.{name}": value for name, value in own.figures.items()},
            "profile": work.request.profile,
            "seed": found.seed,
            "decision": found.decision,
            "sentence": found.sentence(),
            "set": " ".join(found.options),
        },
        metrics={name: value for name, value in metrics.items() if value is not None},
    )


def _estimate(name: str, estimate: Estimate) -> Iterator[tuple[str, float]]:
    if not math.isnan(estimate.value):
        yield name, estimate.value
    yield f"{name}_n", estimate.n
    if estimate.low is not None and estimate.high is not None:
        yield f"{name}_low", estimate.low
        yield f"{name}_high", estimate.high
