"""The flow `sweep`: better figures for a profile, searched on cached features, disease by disease.

    folders -> check -> scan -> manifest -> judge -> plan -> features -> (search -> record) per disease

Diseases are searched one after the other, for all of them share the worker; what one gave is recorded while the next
is searched. One that fails is named with its reason and stops no other, and the flow does not end green.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.lifetime import lifetime
from flows.validate_data import Checked, check_images
from tasks.build_manifest import DiseaseManifest
from tasks.core.addresses import without_secret
from tasks.core.catalog import load_catalog
from tasks.core.report import Outcome
from tasks.core.search import Searched
from tasks.core.search_space import check_searchable
from tasks.core.settings import read_settings, silence
from tasks.core.sweep_report import SweepFailed, SweepReport
from tasks.extract_features import extract_features
from tasks.files import write_json
from tasks.outcomes import failed_outcome, refused_outcome
from tasks.plan_run import Request, Work, plan_run
from tasks.plan_search import PlannedSearch, plan_search
from tasks.progress import report
from tasks.publish_check import publish_check
from tasks.record_run import Recording, abandon_run, open_run
from tasks.record_sweep import close_sweep, record_failed_search, record_sweep
from tasks.search_head import search_head
from tasks.store import disease_folder, image_paths
from tasks.trials import load_ahead
from tasks.worker import Worker, start_worker


def _run_name() -> str:
    return f"sweep {flow_run.parameters['profile']} {datetime.now().astimezone():%Y-%m-%d %H:%M}"


@flow(name="sweep", flow_run_name=_run_name)
def sweep(
    profile: str = "fast",
    diseases: list[str] | None = None,
    trials: int = 100,
    seed: int = 0,
    overrides: dict[str, Any] | None = None,
    data: str | None = None,
    catalog: str | None = None,
    home: str | None = None,
    tracking_uri: str | None = None,
) -> State[SweepReport]:
    """Search better figures of a profile for every disease of the catalog.

    Args:
        profile: key of the catalog: what is searched from.
        diseases: keys of the catalog; all of them where none is named.
        trials: of each disease, the profile as it is among them.
        seed: of folds, samples, initial weights, batch order, dropout and resampling.
        overrides: figures of the profile to change, as `--set` does; they are not searched.
        data: the data root; RADTRAIN_DATA by default.
        catalog: folder with catalog files of your own; RADTRAIN_CATALOG by default.
        home: folder for caches, runs and databases; RADTRAIN_HOME by default.
        tracking_uri: where MLflow records; MLFLOW_TRACKING_URI by default.

    Returns:
        Completed with a `SweepReport` as its result, or Failed with a `SweepFailed` that carries it.
    """
    began = time.perf_counter()
    silence(os.environ)
    settings = read_settings(os.environ, data=data, home=home, catalog=catalog, tracking_uri=tracking_uri)
    request = Request(profile, tuple(diseases or ()), seed, tuple((overrides or {}).items()))
    check_searchable(profile, load_catalog(settings.catalog).profile(profile, dict(request.overrides)))
    with lifetime(settings), start_worker(settings.home) as worker:
        work = plan_run(request, settings, worker)
        worker.tell(load_ahead)
        opening = open_run.submit(settings.tracking_uri, settings.artifact_root, f"sweep/{profile}")
        try:
            final, costs, planned = _sweep_diseases(work, worker, opening, trials, began)
            close_sweep(opening.result(), work, planned.space, final, costs)
        except BaseException as error:
            abandon_run(opening, error)
            raise
    write_json(settings.home / "runs" / final.run_id / "report.json", final.to_json())
    for outcome in final.failed():
        get_run_logger().error("%s failed: %s.", outcome.disease, outcome.cause)
    if final.failed():
        return Failed(message=final.message(), data=SweepFailed(final))
    return Completed(message=final.message(), data=final)


@dataclass(frozen=True, slots=True)
class _Progress:
    """Says how far the whole sweep is while one disease is searched."""

    before: int
    total: int

    def __call__(self, done: int) -> None:
        report("train", self.before + done, self.total)


def _sweep_diseases(
    work: Work, worker: Worker, opening: PrefectFuture[Recording], trials: int, began: float
) -> tuple[SweepReport, dict[str, float], PlannedSearch]:
    """Take every disease as far as its data let it go; return what became of each, what all cost, and the plan."""
    look = work.look()
    checked = check_images(look)
    recording = opening.result()  # no feature is computed for a run that could not be recorded
    publishing = publish_check.submit(look, checked.report, recording)
    planned = plan_search(worker, work, checked.manifests, trials=trials)
    paths = [image_paths(manifest.path) for manifest in checked.manifests.values()]
    extraction = extract_features(
        worker,
        work.root,
        {image: path for some in paths for image, path in some.items()},
        list(planned.wanted.values()),
        limit=work.settings.cache_limit,
    )
    publishing.result()
    results = _search_all(work, worker, recording, checked, planned, trials)
    costs = {**(checked.scan.costs() if checked.scan else {}), **extraction.costs()}
    if planned.forecast:
        costs["expected_s"] = planned.forecast.seconds
    final = SweepReport(
        run_id=recording.run_id,
        profile=work.request.profile,
        results=results,
        trials=trials,
        seconds=time.perf_counter() - began,
        tracking_uri=without_secret(work.settings.tracking_uri),
        folder=str(work.settings.home / "runs" / recording.run_id),
        skipped=tuple(work.skipped),
    )
    return final, costs, planned


def _search_all(
    work: Work,
    worker: Worker,
    recording: Recording,
    checked: Checked,
    planned: PlannedSearch,
    trials: int,
) -> tuple[Searched | Outcome, ...]:
    """Search for one disease after the other; each is recorded beside the next."""
    results: dict[str, Searched | Outcome] = {}
    recorded: dict[str, PrefectFuture[float]] = {}
    total = trials * len(checked.manifests)
    for number, (key, manifest) in enumerate(checked.manifests.items()):
        folder = disease_folder(work.settings.home, recording.run_id, key)
        progress = _Progress(number * trials, total)
        searched = search_head.submit(
            worker, work, manifest, planned.space, folder, trials=trials, progress=progress
        )
        searched.wait()
        if searched.state.is_completed():
            found: Any = searched.result()
            results[key] = found
            recorded[key] = record_sweep.submit(recording, work, found, folder)
        else:
            error = searched.state.result(raise_on_failure=False)
            results[key] = _failed(work, checked, manifest, error, trials)
    for key, future in recorded.items():
        future.wait()
        if not future.state.is_completed():
            error = future.state.result(raise_on_failure=False)
            results[key] = _failed(work, checked, checked.manifests[key], error, trials)
    for verdict in checked.report.failed():
        results[verdict.disease] = _with_command(refused_outcome(work, verdict), trials)
    ordered = tuple(results[key] for key in work.diseases)
    for key, result in zip(work.diseases, ordered, strict=True):
        if isinstance(result, Outcome) and key not in recorded:
            record_failed_search(recording, work, result)
    return ordered


def _failed(
    work: Work, checked: Checked, manifest: DiseaseManifest, error: BaseException, trials: int
) -> Outcome:
    verdict = next(v for v in checked.report.verdicts if v.disease == manifest.disease)
    return _with_command(failed_outcome(work, verdict, manifest, error, 0.0), trials)


def _with_command(outcome: Outcome, trials: int) -> Outcome:
    """Return a failure with the command that searches for this disease again, instead of one that trains it."""
    searching = outcome.repeat.replace("radtrain train", "radtrain sweep", 1)
    return replace(outcome, repeat=f"{searching} --trials {trials}")
