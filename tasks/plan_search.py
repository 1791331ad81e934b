"""Stage: work -> what a search needs: the space, which features must be cached, and how long it will take.

In: the work and the manifests. Out: the plan of the search. Features of test images are not asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.build_manifest import DiseaseManifest
from tasks.core.fitting import batches
from tasks.core.pace import DISEASE_S, Forecast
from tasks.core.search_space import Choice, search_space
from tasks.core.shortcuts import FOLDS
from tasks.extract_features import Wanted
from tasks.measure_pace import measure_pace
from tasks.plan_run import Work
from tasks.progress import expect
from tasks.store import read_rows
from tasks.worker import Worker

#: Folds that a trial is trained on before it is given up or completed, a mean (docs/LOG.md).
_FOLDS_TRAINED = 2.5


@dataclass(frozen=True, slots=True)
class PlannedSearch:
    """What is searched, what must be cached for it, and what it is expected to take; None where that is seconds."""

    space: tuple[Choice, ...]
    wanted: dict[str, Wanted]
    forecast: Forecast | None


@task(name="plan-search", cache_policy=NO_CACHE)
def plan_search(
    worker: Worker, work: Work, manifests: Mapping[str, DiseaseManifest], *, trials: int
) -> PlannedSearch:
    """Say what will be searched, and, where a tail of the backbone is trained, how long that will take.

    Args:
        worker: the process that holds TensorFlow.
        work: what is to be done.
        manifests: of the diseases that are searched for.
        trials: of each disease.

    Raises:
        CatalogError: nothing is left to search.
    """
    space = search_space(work.figures, [name for name, _ in work.request.overrides])
    wanted = {key: _wanted(work, manifest) for key, manifest in manifests.items()}
    if not manifests or not work.figures.trainable_layers:
        return PlannedSearch(space, wanted, None)
    forecast = _forecast(worker, work, manifests, wanted, trials)
    get_run_logger().info("Expected: %s.", forecast.sentence())
    expect(forecast)
    return PlannedSearch(space, wanted, forecast)


def _wanted(work: Work, manifest: DiseaseManifest) -> Wanted:
    """Return all that any trial may read: folds score training images as they are, and train on every variant."""
    train, validation = (read_rows(manifest.path, split).images for split in ("train", "validation"))
    spaces, figures = work.spaces(manifest.disease), work.figures_of(manifest.disease)
    features = {spaces.plain: set(train) | set(validation)}
    for epoch in range(1, figures.epochs + 1):
        space = spaces.of_epoch(figures, seed=work.request.seed, epoch=epoch)
        features[space] = features.get(space, set()) | set(train)
    return Wanted(spaces, features, ())


def _forecast(
    worker: Worker,
    work: Work,
    manifests: Mapping[str, DiseaseManifest],
    wanted: Mapping[str, Wanted],
    trials: int,
) -> Forecast:
    dtype = next(iter(wanted.values())).spaces.plain.dtype
    pace = worker.ask(measure_pace, work.backbone, dtype, work.figures)
    rows, steps = 0, 0
    for key, manifest in manifests.items():
        for space, images in wanted[key].features.items():
            there = space.open()
            rows += sum(image not in there for image in images)
        figures, count = work.figures_of(key), manifest.counts["train"]

        def steps_on(count: int, figures=figures) -> int:
            return figures.epochs * len(batches(count, figures=figures, seed=0, epoch=1))

        steps += 2 * steps_on(count)  # both contenders
        steps += math.ceil(trials * _FOLDS_TRAINED) * steps_on(count * (FOLDS - 1) // FOLDS)
    rest_s = pace.once_s + len(manifests) * DISEASE_S
    return Forecast(rows * pace.image_s, steps * pace.step_s, rest_s, rows, steps)
