"""Stage: features -> the best of many trials, beside the profile as it is.

In: one disease's manifest and its cached features. Out: all trials, and what both contenders come to on validation
rows, trained just as `radtrain train` would train them. Test rows are not read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.build_manifest import DiseaseManifest
from tasks.compute import score, train
from tasks.core.metrics import Estimate, measure
from tasks.core.paired import compare_aurocs
from tasks.core.profile import Profile
from tasks.core.search import Searched, Trial, best_trial
from tasks.core.search_space import Choice, Figure
from tasks.files import write_json, writing
from tasks.plan_run import Work
from tasks.store import LabelledRows, read_rows
from tasks.trials import Search, run_trials
from tasks.worker import Worker

#: Trials that are asked for at once; how far the search is, is said after each lot.
_LOT = 5


@task(name="search-head", task_run_name="search {manifest.disease}", cache_policy=NO_CACHE)
def search_head(
    worker: Worker,
    work: Work,
    manifest: DiseaseManifest,
    space: tuple[Choice, ...],
    folder: Path,
    *,
    trials: int,
    progress: Callable[[int], None],
) -> Searched:
    """Search better figures of a profile for one disease.

    Trials are ranked on folds of the training rows. The best of them and the profile as it is are then trained on all
    training rows, and compared once on the validation rows.

    Args:
        worker: the process that holds TensorFlow.
        work: what the flow does.
        manifest: of the disease.
        space: the figures that are searched.
        folder: of the disease in the run; takes `sweep.json`.
        trials: how many, the profile as it is among them.
        progress: is told how many trials are over.

    Raises:
        TooFewToSearch: the training rows cannot be divided into folds that hold both classes.
        TrainingDiverged: the loss of the profile as it is is not finite.
        WorkerDied: the process that trained was ended.
        StorageError: the home folder cannot be written.
    """
    began = time.perf_counter()
    disease = manifest.disease
    figures = work.figures_of(disease)
    search = Search(disease, manifest.path, work.spaces(disease), figures, space, work.request.seed)
    rows = read_rows(manifest.path, "validation")
    # First: a profile that cannot be trained as it is is told before hundreds of trials are.
    own_scores, own_estimate = _contend(worker, work, manifest, figures, rows, folder)
    searching, done = time.perf_counter(), list[Trial]()
    while len(done) < trials:
        done += worker.ask(run_trials, search, tuple(done), min(_LOT, trials - len(done)))
        progress(len(done))
    search_s = time.perf_counter() - searching
    best = best_trial(done)
    best_scores, best_estimate = own_scores, own_estimate
    chosen = {name: value for name, value in best.figures.items() if value != done[0].figures[name]}
    if chosen:
        better = figures.model_copy(update=chosen)
        best_scores, best_estimate = _contend(worker, work, manifest, better, rows, folder)
    found = Searched(
        disease=disease,
        trials=tuple(done),
        best=best,
        own_validation=own_estimate,
        best_validation=best_estimate,
        paired=compare_aurocs(rows.labels, rows.groups, best_scores, own_scores),
        manifest=manifest.digest,
        seed=work.request.seed,
        search_s=search_s,
        duration_s=time.perf_counter() - began,
        options=tuple(f"{name}={value}" for name, value in chosen.items()),
        command=_command(work, disease, chosen),
    )
    write_json(folder / "sweep.json", {**found.to_json(), "all_trials": [t.to_json() for t in done]})
    return found


def _contend(
    worker: Worker,
    work: Work,
    manifest: DiseaseManifest,
    figures: Profile,
    rows: LabelledRows,
    folder: Path,
) -> tuple[np.ndarray, Estimate]:
    """Train on all training rows by the plan that `radtrain train` would follow; return scores and AUROC of the rows.

    The model is not kept: whoever wants it trains it, and has it evaluated.
    """
    plan = replace(work.plan(manifest), figures=figures)
    spaces = work.spaces(manifest.disease)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        kept = TemporaryDirectory(prefix=".contender-", dir=folder)
    with kept as name:
        place = Path(name)
        write_json(place / "plan.json", plan.to_json())
        trained = worker.ask(train, place, manifest.path, spaces, place / "checkpoints")
        scores, _ = worker.ask(score, place, spaces, rows.images)
    point = trained.operating_point
    found = measure(rows.labels, scores, rows.groups, threshold=point.threshold, seed=plan.seed)
    return scores, found["auroc"]


def _command(work: Work, disease: str, chosen: Mapping[str, Figure]) -> str:
    request = replace(work.request, overrides=(*work.request.overrides, *chosen.items()))
    return request.repeat(disease, work.settings)
