"""The flow `train-all`: image folders in, one evaluated and tracked classifier per disease out.

    folders -> check -> scan -> manifest -> judge -> plan -> what an earlier run did already
            -> time -> features -> (train -> evaluate -> record -> accept) per disease

Diseases run beside each other. One that fails is named with its reason and stops no other, and the flow does
not end green. One whose images, plan and code are those of an earlier run is not trained again.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.lifetime import lifetime
from flows.plan_training import Planned, plan_training
from flows.validate_data import check_images
from tasks.ask_teacher import ask_teachers
from tasks.checkpoints import checkpoint_folder, forget_checkpoints
from tasks.compute import Trained
from tasks.core.addresses import without_secret
from tasks.core.errors import AlreadyRunning
from tasks.core.pace import Forecast
from tasks.core.report import DiseasesFailed, Outcome, Report
from tasks.core.settings import Settings, read_settings, silence
from tasks.evaluate_classifier import Evaluated, evaluate_classifier
from tasks.extract_features import extract_features
from tasks.files import write_json
from tasks.judge_data import accept_data
from tasks.outcomes import completed_outcome, failed_outcome, refused_outcome, unchanged_outcome
from tasks.plan_run import Request, Work, plan_run
from tasks.plan_time import forecast_time
from tasks.progress import report
from tasks.publish_check import publish_check
from tasks.publish_results import publish_results
from tasks.record_run import (
    Recorded,
    Recording,
    abandon_run,
    close_run,
    connect,
    open_run,
    own_run,
    record_disease,
    record_failure,
)
from tasks.store import disease_folder, image_paths
from tasks.tracking import Tracker
from tasks.train_classifier import train_classifier
from tasks.worker import Worker, start_worker

#: The futures of one disease, in the order in which they come about.
_Line = tuple[PrefectFuture[Trained], PrefectFuture[Evaluated], PrefectFuture[Recorded], PrefectFuture[None]]


def _run_name() -> str:
    return f"{flow_run.parameters['profile']} {datetime.now().astimezone():%Y-%m-%d %H:%M}"


#: Each disease holds at most four threads, three of them waiting for the one before.
_THREADS: Any = ThreadPoolTaskRunner(max_workers=32)


@flow(name="train-all", flow_run_name=_run_name, task_runner=_THREADS)
def train_all(
    profile: str = "fast",
    diseases: list[str] | None = None,
    seed: int = 0,
    overrides: dict[str, Any] | None = None,
    time_limit: float | None = None,
    training_limit: float | None = None,
    force: bool = False,
    data: str | None = None,
    catalog: str | None = None,
    home: str | None = None,
    tracking_uri: str | None = None,
) -> State[Report]:
    """Train and evaluate a classifier for every disease of the catalog.

    Args:
        profile: key of the catalog: how classifiers are built and trained.
        diseases: keys of the catalog; all of them where none is named.
        seed: of initial weights, batch order, dropout and resampling; splits do not depend on it.
        overrides: figures of the profile to change for this run, as `--set` does.
        time_limit: minutes that the run may take; epochs get fewer steps to fit. None for no limit.
        training_limit: minutes after which one training is ended and tried once more; by default ten times what the
            run is expected to take, and 10 minutes at least.
        force: train again what has not changed since an earlier run.
        data: the data root; RADTRAIN_DATA by default.
        catalog: folder with catalog files of your own; RADTRAIN_CATALOG by default.
        home: folder for caches, runs and databases; RADTRAIN_HOME by default.
        tracking_uri: where MLflow records; MLFLOW_TRACKING_URI by default.

    Returns:
        Completed with a `Report` as its result, named Unchanged where there was nothing to do; Failed with a
        `DiseasesFailed` that carries the report; or Cancelled where another run is at the same work.
    """
    silence(os.environ)
    settings = read_settings(os.environ, data=data, home=home, catalog=catalog, tracking_uri=tracking_uri)
    request = Request(
        profile,
        tuple(diseases or ()),
        seed,
        tuple((overrides or {}).items()),
        time_limit,
        training_limit,
        force,
    )
    try:
        with (
            lifetime(settings, f"train-all-{request.digest()}"),
            start_worker(settings.home) as worker,
        ):
            final = _train(request, settings, worker)
    except AlreadyRunning as error:
        return Cancelled(name="Refused", message=error.what, data=error)
    for outcome in final.failed():
        get_run_logger().error("%s failed: %s.", outcome.disease, outcome.cause)
    if final.failed():
        return Failed(message=final.message(), data=DiseasesFailed(final))
    name = "Unchanged" if final.is_unchanged() else "Completed"
    return Completed(name=name, message=final.message(), data=final)


def _train(request: Request, settings: Settings, worker: Worker) -> Report:
    """Do what is asked for, as far as no earlier run did it."""
    began = time.perf_counter()
    work = plan_run(request, settings, worker)
    connecting = connect.submit(settings.tracking_uri, settings.artifact_root)
    checked = check_images(work.look())
    tracker = connecting.result()
    with plan_training(worker, work, checked, tracker, began=began) as planned:
        return _carry_out(planned, worker, tracker, began)


def _carry_out(planned: Planned, worker: Worker, tracker: Tracker, began: float) -> Report:
    """Train what is not unchanged, and publish the report."""
    work = planned.work
    if set(planned.unchanged) == set(work.diseases) and own_run(tracker, flow_run.id) is None:
        final = _unchanged(planned, began)
        publish_results(final, tracker)
        return final
    settings, profile = work.settings, work.request.profile
    opening = open_run.submit(settings.tracking_uri, settings.artifact_root, f"train-all/{profile}", profile)
    try:
        recording = opening.result()  # no feature is computed for a run that could not be recorded
        outcomes, costs = _train_diseases(planned, worker, recording)
        seconds = time.perf_counter() - began
        close_run(recording, work, outcomes, {"duration_s": seconds, **costs})
    except BaseException as error:
        abandon_run(opening, error)
        raise
    final = _report(work, recording.run_id, outcomes, seconds)
    write_json(Path(final.folder) / "report.json", final.to_json())
    publish_results(final, tracker)
    return final


def _unchanged(planned: Planned, began: float) -> Report:
    """Return the report of a run that had nothing to do."""
    outcomes = tuple(_stands(planned, key) for key in planned.work.diseases)
    newest = max((run.found for run in planned.unchanged.values()), key=lambda found: found.started)
    return _report(planned.work, newest.parent or newest.run_id, outcomes, time.perf_counter() - began)


def _stands(planned: Planned, key: str) -> Outcome:
    manifest = planned.checked.manifests[key]
    return unchanged_outcome(planned.verdict(key), manifest, planned.unchanged[key])


def _report(work: Work, run_id: str, outcomes: tuple[Outcome, ...], seconds: float) -> Report:
    return Report(
        run_id,
        work.request.profile,
        outcomes,
        seconds,
        without_secret(work.settings.tracking_uri),
        str(work.settings.home / "runs" / run_id),
        tuple(work.skipped),
    )


def _train_diseases(
    planned: Planned, worker: Worker, recording: Recording
) -> tuple[tuple[Outcome, ...], dict[str, float]]:
    """Take every disease as far as its data let it go; return what became of each, and what all of them cost."""
    work, checked = planned.work, planned.checked
    publishing = publish_check.submit(work.look(), checked.report, recording)  # seen before training starts
    manifests = planned.to_train()
    teachers = {key: planned.teachers[key] for key in manifests if key in planned.teachers}
    paths = {key: image_paths(manifest.path) for key, manifest in manifests.items()}
    forecast = forecast_time(worker, work, manifests)
    extraction = extract_features(
        worker,
        work.root,
        {image: path for some in paths.values() for image, path in some.items()},
        [*map(work.wanted, manifests.values()), *(teacher.wanted() for teacher in teachers.values())],
        limit=work.settings.cache_limit,
    )
    if teachers:
        ask_teachers(worker, work.settings.home, recording.run_id, teachers)
    publishing.result()
    lines = {key: _submit(planned, key, worker, recording, forecast) for key in manifests}
    outcomes: list[Outcome] = []
    for key in work.diseases:
        if key in planned.unchanged:
            outcomes.append(_stands(planned, key))
        else:
            cached = extraction.cached_share(list(paths[key])) if key in lines else 0.0
            outcome = _settle(planned, key, lines.get(key), cached)
            outcomes.append(outcome if outcome.run_id else record_failure(recording, work, outcome))
            planned.give_up_claim(key)
        report("train", len(outcomes), len(work.diseases))
    costs = {**(checked.scan.costs() if checked.scan else {}), **extraction.costs()}
    return tuple(outcomes), {**costs, **(forecast.costs() if forecast else {})}


def _submit(
    planned: Planned, key: str, worker: Worker, recording: Recording, forecast: Forecast | None
) -> _Line:
    """Start the line of one disease: train, evaluate, record, accept; each waits for the one before."""
    work, plan, manifest = planned.work, planned.plans[key], planned.checked.manifests[key]
    verdict, spaces, home = planned.verdict(key), work.spaces(key), work.settings.home
    folder = disease_folder(home, recording.run_id, key)
    limit_s = work.training_limit_s(forecast)
    # Any: a future stands for the value that Prefect hands to the next task.
    trained: Any = train_classifier.submit(
        worker, plan, folder, manifest.path, spaces, home, limit_s, forecast
    )
    evaluated: Any = evaluate_classifier.submit(worker, plan, folder, manifest, verdict, spaces, trained)
    recorded: Any = record_disease.submit(recording, plan, folder, verdict, trained, evaluated)
    waiting: Any = accept_data.submit(work.look(), manifest, wait_for=[recorded])  # pyright: ignore[reportCallIssue]
    return trained, evaluated, recorded, waiting


def _settle(planned: Planned, key: str, line: _Line | None, cached: float) -> Outcome:
    """Wait for the line of one disease, if it has one, and say what became of it."""
    work, verdict = planned.work, planned.verdict(key)
    if key in planned.untaught:
        return failed_outcome(work, verdict, planned.checked.manifests[key], planned.untaught[key], 0.0)
    if line is None:
        return refused_outcome(work, verdict)
    manifest = planned.checked.manifests[key]
    for future in line:
        future.wait()
        if not future.state.is_completed():
            error = future.state.result(raise_on_failure=False)
            return failed_outcome(work, verdict, manifest, error, cached)
    trained, evaluated, recorded = line[0].result(), line[1].result(), line[2].result()
    forget_checkpoints(checkpoint_folder(work.settings.home, planned.plans[key].digest()))
    seconds = trained.duration_s + evaluated.duration_s + recorded.duration_s
    return completed_outcome(
        verdict, manifest, evaluated.test, seconds, cached, recorded.run_id, trained.retried
    )
