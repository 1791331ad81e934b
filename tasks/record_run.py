"""Stage: what happened -> MLflow. One run per `train-all`, and below it one per disease, failed ones too.

In: plans, folders and outcomes. Out: the ids of the runs.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run

from data_checks.report import Verdict
from tasks.code_digest import code_digest
from tasks.compute import Trained
from tasks.core.card import describe
from tasks.core.errors import TrackingError
from tasks.core.metrics import Estimate
from tasks.core.plan import Plan
from tasks.core.report import Outcome
from tasks.evaluate_classifier import Evaluated
from tasks.files import read_json
from tasks.plan_run import Work
from tasks.tracking import Tracker, open_tracker

_TAGS = {"radtrain.not_for_diagnosis": "true"}


@dataclass(frozen=True, slots=True)
class Recording:
    """The run of a flow, and the way to it; that of a `train-all` is the parent of its diseases' runs."""

    tracker: Tracker
    run_id: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """The MLflow run of one disease, and the seconds that logging it took."""

    run_id: str
    duration_s: float


@task(name="connect", cache_policy=NO_CACHE)
def connect(uri: str, artifact_root: Path | None) -> Tracker:
    """Connect to MLflow, ahead of whatever is asked of it.

    Raises:
        TrackingError: MLflow cannot be reached or written.
    """
    return open_tracker(uri, artifact_root)


@task(name="open-run", cache_policy=NO_CACHE)
def open_run(uri: str, artifact_root: Path | None, name: str, profile: str | None = None) -> Recording:
    """Connect to MLflow and start the run of a flow; a `train-all` also says with which profile.

    A flow run that is tried again goes on with the run that it had.

    Raises:
        TrackingError: MLflow cannot be reached or written.
    """
    tracker = open_tracker(uri, artifact_root)
    tags = {**_TAGS, "radtrain.profile": profile} if profile else _TAGS
    if flow_run.id:
        tags = {**tags, "radtrain.flow_run": flow_run.id}
        earlier = own_run(tracker, flow_run.id)
        if earlier is not None:
            tracker.reopen_run(earlier)
            for below in list(tracker.search_runs(tags={"mlflow.parentRunId": earlier})):
                if below.status == "RUNNING":
                    tracker.abandon_run(below.run_id, status="KILLED", cause="lost")
            return Recording(tracker, earlier)
    return Recording(tracker, tracker.start_run(name, tags=tags))


def own_run(tracker: Tracker, flow_run_id: str) -> str | None:
    """Return the id of the run that a flow run opened when it was tried before; None where it was not.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    found = next(iter(tracker.search_runs(tags={"radtrain.flow_run": flow_run_id})), None)
    return None if found is None else found.run_id


@task(name="end-run", cache_policy=NO_CACHE)
def end_run(recording: Recording, *, completed: bool) -> None:
    """End a run that has no diseases below it.

    Raises:
        TrackingError: MLflow cannot be reached or written.
    """
    recording.tracker.end_run(recording.run_id, completed=completed)


@task(name="record-disease", task_run_name="record {plan.disease}", cache_policy=NO_CACHE)
def record_disease(
    recording: Recording, plan: Plan, folder: Path, verdict: Verdict, trained: Trained, evaluated: Evaluated
) -> Recorded:
    """Log one trained and evaluated disease below the parent run.

    Raises:
        TrackingError: MLflow cannot be reached or written; the folder still holds everything.
    """
    began = time.perf_counter()
    tracker = recording.tracker
    run_id = tracker.start_run(
        f"{plan.disease} {plan.profile}",
        tags={**_tags(plan, trained), "mlflow.note.content": describe(plan, evaluated.test["auroc"])},
        parent=recording.run_id,
        took_s=trained.duration_s + evaluated.duration_s,
    )
    try:
        _log_disease(tracker, run_id, plan, folder, verdict, trained, evaluated)
    except BaseException:
        with contextlib.suppress(TrackingError):  # the fault that led here is the one to tell
            tracker.end_run(run_id, completed=False)
        raise
    tracker.end_run(run_id, completed=True)
    return Recorded(run_id, time.perf_counter() - began)


@task(name="record-failure", task_run_name="record failure of {outcome.disease}", cache_policy=NO_CACHE)
def record_failure(recording: Recording, work: Work, outcome: Outcome) -> Outcome:
    """Log a disease that failed, with its cause, so that it is seen beside those that did not.

    Where that cannot be logged either, the outcome says so; it was a failure before.
    """
    tags = {
        **_TAGS,
        "radtrain.disease": outcome.disease,
        "radtrain.profile": work.request.profile,
        "radtrain.cause": outcome.cause,
    }
    try:
        name = f"{outcome.disease} {work.request.profile}"
        run_id = recording.tracker.start_run(name, tags=tags, parent=recording.run_id)
        recording.tracker.end_run(run_id, completed=False)
    except TrackingError as error:
        return replace(outcome, reason=f"{outcome.reason} Nor could it be logged: {error.what}")
    return replace(outcome, run_id=run_id)


@task(name="close-run", cache_policy=NO_CACHE)
def close_run(
    recording: Recording, work: Work, outcomes: Sequence[Outcome], costs: Mapping[str, float]
) -> None:
    """Log the figures of the profile and the AUROC of every disease to the parent run, and end it.

    Raises:
        TrackingError: MLflow cannot be reached or written.
    """
    unchanged = [outcome.disease for outcome in outcomes if outcome.state == "unchanged"]
    completed = [outcome for outcome in outcomes if outcome.state != "failed"]
    failed = [outcome.disease for outcome in outcomes if outcome.state == "failed"]
    recording.tracker.log(
        recording.run_id,
        params={
            **_flat({"figures": work.figures.model_dump()}),
            "manifests": ", ".join(f"{o.disease} {o.manifest[:16]}" for o in outcomes if o.manifest),
            "profile": work.request.profile,
            "seed": work.request.seed,
            "diseases": ", ".join(work.diseases),
            "weights_digest": work.backbone.weights_digest,
        },
        metrics={
            **{f"test/auroc/{outcome.disease}": outcome.test["auroc"].value for outcome in completed},
            **costs,
            "diseases_completed": len(completed),
            "diseases_unchanged": len(unchanged),
            "diseases_failed": len(failed),
        },
        tags={
            name: ", ".join(keys)
            for name, keys in {"radtrain.failed": failed, "radtrain.unchanged": unchanged}.items()
            if keys
        },
    )
    recording.tracker.end_run(recording.run_id, completed=not failed)


def abandon_run(opening: PrefectFuture[Recording], error: BaseException) -> None:
    """End the parent run as failed, or as killed where somebody stopped it: no run stays "running" for ever."""
    opening.wait()
    if opening.state.is_completed():
        recording = opening.result()
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        with contextlib.suppress(TrackingError):  # the fault that led here is the one to tell
            recording.tracker.abandon_run(recording.run_id, status=status, cause=type(error).__name__)


def _log_disease(
    tracker: Tracker,
    run_id: str,
    plan: Plan,
    folder: Path,
    verdict: Verdict,
    trained: Trained,
    evaluated: Evaluated,
) -> None:
    params = {
        **_flat(plan.to_json()),
        "parameters": trained.parameters,
        "trainable_parameters": trained.trainable_parameters,
    }
    model_id = tracker.log_model(run_id, folder / "model", name=plan.disease, params=params)
    counts = {"train": plan.n_train, "validation": plan.n_validation, "test": plan.n_test}
    tracker.log_dataset(run_id, name=plan.disease, digest=plan.manifest_digest, profile=json.dumps(counts))
    metrics = {**_training_metrics(plan, trained, evaluated), **dict(_audit_metrics(verdict))}
    tracker.log(run_id, params=params, series=_series(folder), metrics=metrics)
    tracker.log(run_id, metrics=dict(_test_metrics(evaluated.test)), model_id=model_id)
    names = ("plan.json", "history.json", "evaluation.json", "evaluation.png", "card.md")
    tracker.log_files(run_id, [folder / name for name in names])


def _tags(plan: Plan, trained: Trained) -> dict[str, str]:
    return {
        **_TAGS,
        "radtrain.disease": plan.disease,
        "radtrain.profile": plan.profile,
        "radtrain.manifest": plan.manifest_digest,
        "radtrain.plan": plan.digest(),
        "radtrain.code": code_digest(),
        "radtrain.trained": trained.digest,
        **({"radtrain.retried": trained.retried} if trained.retried else {}),
    }


def _training_metrics(plan: Plan, trained: Trained, evaluated: Evaluated) -> dict[str, float]:
    point = trained.operating_point
    return {
        "train/fit_s": trained.fit_s,
        "train/duration_s": trained.duration_s,
        "test/duration_s": evaluated.duration_s,
        "train/images_per_s": trained.images / max(trained.fit_s, 1e-9),
        "train/steps": trained.steps,
        "train/best_epoch": trained.best_epoch,
        "train/resumed_after": trained.resumed_after,
        "train/damaged_checkpoints": trained.damaged_checkpoints,
        "train/peak_memory_mib": trained.peak_memory_bytes / 2**20,
        "validation/threshold": point.threshold,
        "validation/sensitivity": point.sensitivity,
        "validation/specificity": point.specificity,
        "data/n_train": plan.n_train,
        "data/n_validation": plan.n_validation,
        "data/n_test": plan.n_test,
    }


def _test_metrics(test: Mapping[str, Estimate]) -> Iterator[tuple[str, float]]:
    for name, estimate in test.items():
        if not math.isnan(estimate.value):
            yield f"test/{name}", estimate.value
        yield f"test/{name}_n", estimate.n
        if estimate.low is not None and estimate.high is not None:
            yield f"test/{name}_low", estimate.low
            yield f"test/{name}_high", estimate.high


def _audit_metrics(verdict: Verdict) -> Iterator[tuple[str, float]]:
    """Yield how well each probe of the shortcut audit predicts the label: it stands beside the score wherever runs are compared."""
    for audited in verdict.audit:
        yield f"shortcut/{audited.probe}", audited.auroc
        if audited.low is not None and audited.high is not None:
            yield f"shortcut/{audited.probe}_low", audited.low
            yield f"shortcut/{audited.probe}_high", audited.high
        yield f"shortcut/{audited.probe}_n", audited.n


def _series(folder: Path) -> Iterator[tuple[str, float, int]]:
    """Yield the metrics of every epoch as (name, value, epoch)."""
    for epoch in read_json(folder / "history.json"):
        for name in ("train_loss", "validation_loss", "validation_auroc", "duration_s"):
            if epoch[name] is not None:
                yield f"epoch/{name}", epoch[name], epoch["number"]


def _flat(said: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one, with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in said.items():
        flat.update(
            _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
        )
    return flat
