"""The flow `train-all`: image folders in, one evaluated and tracked classifier per disease out.

    folders -> check -> scan -> manifest -> judge -> time -> features -> (train -> evaluate -> record -> accept) per disease

Diseases run beside each other. One that fails is named with its reason and stops no other, and the flow does
not end green.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from data_checks.report import Verdict
from flows.validate_data import check_images
from tasks.ask_teacher import Teacher, TeacherMissing, ask_teachers, find_teacher
from tasks.build_manifest import DiseaseManifest
from tasks.checkpoints import checkpoint_folder, forget_checkpoints
from tasks.compute import Trained
from tasks.core.addresses import without_secret
from tasks.core.plan import Plan
from tasks.core.report import DiseasesFailed, Outcome, Report
from tasks.core.settings import read_settings, silence
from tasks.evaluate_classifier import Evaluated, evaluate_classifier
from tasks.extract_features import extract_features
from tasks.judge_data import accept_data
from tasks.plan_run import Request, Work, plan_run
from tasks.plan_time import plan_time
from tasks.progress import report
from tasks.publish_check import publish_check
from tasks.record_run import (
    Recorded,
    Recording,
    abandon_run,
    close_run,
    open_run,
    record_disease,
    record_failure,
)
from tasks.store import disease_folder, image_paths, prepare_home, write_json
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
    data: str | None = None,
    catalog: str | None = None,
    home: str | None = None,
    tracking_uri: str | None = None,
    time_limit: float | None = None,
) -> State[Report]:
    """Train and evaluate a classifier for every disease of the catalog.

    Args:
        profile: key of the catalog: how classifiers are built and trained.
        diseases: keys of the catalog; all of them where none is named.
        seed: of initial weights, batch order, dropout and resampling; splits do not depend on it.
        overrides: figures of the profile to change for this run, as `--set` does.
        data: the data root; RADTRAIN_DATA by default.
        catalog: folder with catalog files of your own; RADTRAIN_CATALOG by default.
        home: folder for caches, runs and databases; RADTRAIN_HOME by default.
        tracking_uri: where MLflow records; MLFLOW_TRACKING_URI by default.
        time_limit: minutes that the run may take; epochs get fewer steps to fit. None for no limit.

    Returns:
        Completed with a `Report` as its result, or Failed with a `DiseasesFailed` that carries it.
    """
    began = time.perf_counter()
    silence(os.environ)
    settings = read_settings(os.environ, data=data, home=home, catalog=catalog, tracking_uri=tracking_uri)
    request = Request(profile, tuple(diseases or ()), seed, tuple((overrides or {}).items()), time_limit)
    with start_worker(prepare_home(settings.home) / "logs" / "worker.log") as worker:
        work = plan_run(request, settings, worker)
        opening = open_run.submit(
            settings.tracking_uri, settings.artifact_root, f"train-all/{profile}", profile
        )
        try:
            deadline = None if time_limit is None else time_limit * 60
            work, outcomes, costs = _train_diseases(work, worker, opening, began, deadline)
            seconds = time.perf_counter() - began
            close_run(opening.result(), work, outcomes, {"duration_s": seconds, **costs})
        except BaseException:
            abandon_run(opening)
            raise
    run_id = opening.result().run_id
    folder = str(settings.home / "runs" / run_id)
    final = Report(
        run_id,
        profile,
        outcomes,
        seconds,
        without_secret(settings.tracking_uri),
        folder,
        tuple(work.skipped),
    )
    write_json(settings.home / "runs" / run_id / "report.json", final.to_json())
    for outcome in final.failed():
        get_run_logger().error("%s failed: %s.", outcome.disease, outcome.cause)
    if final.failed():
        return Failed(message=final.message(), data=DiseasesFailed(final))
    return Completed(message=final.message(), data=final)


def _train_diseases(
    work: Work, worker: Worker, opening: PrefectFuture[Recording], began: float, limit_s: float | None
) -> tuple[Work, tuple[Outcome, ...], dict[str, float]]:
    """Take every disease as far as its data let it go.

    Returns the work as it was cut to the time limit, what became of each disease, and what all of them cost.
    """
    look = work.look()
    checked = check_images(look)
    verdicts = {verdict.disease: verdict for verdict in checked.report.verdicts}
    paths = {key: image_paths(manifest.path) for key, manifest in checked.manifests.items()}
    recording = opening.result()  # no feature is computed for a run that could not be recorded
    publishing = publish_check.submit(look, checked.report, recording)  # seen before training starts
    teachers, untaught = _find_teachers(work, recording.tracker, checked.manifests)
    ready = {key: manifest for key, manifest in checked.manifests.items() if key not in untaught}
    spent_s = time.perf_counter() - began
    timed = plan_time(worker, work, ready, limit_s=limit_s, spent_s=spent_s)
    work = timed.work
    wanted = [work.wanted(manifest) for manifest in ready.values()]
    extraction = extract_features(
        worker,
        work.root,
        {image: path for some in paths.values() for image, path in some.items()},
        [*wanted, *(teacher.wanted() for teacher in teachers.values())],
        limit=work.settings.cache_limit,
    )
    if teachers:
        ask_teachers(worker, work.settings.home, recording.run_id, teachers)
    publishing.result()
    plans = {
        key: work.plan(manifest, teachers[key].digest if key in teachers else "")
        for key, manifest in ready.items()
    }
    lines = {
        key: _submit(work, plans[key], worker, manifest, verdicts[key], recording)
        for key, manifest in ready.items()
    }
    outcomes: list[Outcome] = []
    for key in work.diseases:
        if key in lines:
            cached = extraction.cached_share(list(paths[key]))
            outcome = _settle(work, plans[key], verdicts[key], checked.manifests[key], lines[key], cached)
        elif key in untaught:
            outcome = work.failed(verdicts[key], checked.manifests[key], untaught[key], 0.0)
        else:
            outcome = work.failed_checks(verdicts[key])
        outcomes.append(outcome if outcome.run_id else record_failure(recording, work, outcome))
        report("train", len(outcomes), len(work.diseases))
    costs = {**(checked.scan.costs() if checked.scan else {}), **extraction.costs()}
    if timed.forecast:
        costs.update(timed.forecast.costs())
    return work, tuple(outcomes), costs


def _find_teachers(
    work: Work, tracker: Tracker, manifests: Mapping[str, DiseaseManifest]
) -> tuple[dict[str, Teacher], dict[str, TeacherMissing]]:
    """Return who each disease learns from, and why one cannot; both are empty for a profile without a teacher."""
    found: dict[str, Teacher] = {}
    missing: dict[str, TeacherMissing] = {}
    if work.teacher is None:
        return found, missing
    for key, manifest in manifests.items():
        try:
            found[key] = find_teacher(work, work.teacher, tracker, manifest)
        except TeacherMissing as error:
            missing[key] = error
    return found, missing


def _submit(
    work: Work,
    plan: Plan,
    worker: Worker,
    manifest: DiseaseManifest,
    verdict: Verdict,
    recording: Recording,
) -> _Line:
    """Start the line of one disease: train, evaluate, record, accept; each waits for the one before."""
    folder = disease_folder(work.settings.home, recording.run_id, manifest.disease)
    # Any: a future stands for the value that Prefect hands to the next task.
    spaces, home = work.spaces(manifest.disease), work.settings.home
    trained: Any = train_classifier.submit(worker, plan, folder, manifest.path, spaces, home)
    evaluated: Any = evaluate_classifier.submit(worker, plan, folder, manifest, verdict, spaces, trained)
    recorded: Any = record_disease.submit(recording, plan, folder, verdict, trained, evaluated)
    waiting: Any = accept_data.submit(work.look(), manifest, wait_for=[recorded])  # pyright: ignore[reportCallIssue]
    return trained, evaluated, recorded, waiting


def _settle(
    work: Work, plan: Plan, verdict: Verdict, manifest: DiseaseManifest, line: _Line, cached: float
) -> Outcome:
    """Wait for the line of one disease and say what became of it."""
    for future in line:
        future.wait()
        if not future.state.is_completed():
            error = future.state.result(raise_on_failure=False)
            return work.failed(verdict, manifest, error, cached)
    trained, evaluated, recorded = line[0].result(), line[1].result(), line[2].result()
    forget_checkpoints(checkpoint_folder(work.settings.home, plan.digest()))
    seconds = trained.duration_s + evaluated.duration_s + recorded.duration_s
    return work.completed(verdict, manifest, evaluated.test, seconds, cached, recorded.run_id)
