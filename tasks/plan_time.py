"""Stages: with a time limit, the steps that fit it; and how long the work will take, said before it starts.

In: the work and the manifests. Out: the work, with fewer steps in an epoch where the limit wants it; the forecast.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.build_manifest import DiseaseManifest
from tasks.cache import Space, SpaceKey
from tasks.core.fitting import batches
from tasks.core.pace import DISEASE_S, Forecast, Pace, steps_that_fit
from tasks.measure_machine import cpu_model, usable_cores
from tasks.measure_pace import measure_pace
from tasks.plan_run import Work
from tasks.progress import expect
from tasks.store import recall, remember
from tasks.worker import Worker


@task(name="keep-time-limit", cache_policy=NO_CACHE)
def keep_time_limit(
    worker: Worker, work: Work, manifests: Mapping[str, DiseaseManifest], *, spent_s: float
) -> Work:
    """Return the work with the steps that the time limit of the request leaves room for.

    What it was found to leave room for is kept: the same command trains the same steps again, and goes on with a
    training that was broken off.

    Args:
        worker: the process that holds TensorFlow.
        work: what is to be done.
        manifests: of all diseases that could be trained, those that turn out to be unchanged too.
        spent_s: seconds that the run has taken.

    Raises:
        TimeLimitTooShort: one step in each epoch is too many.
    """
    minutes = work.request.time_limit
    if not manifests or minutes is None:
        return work
    return _with_steps(work, _steps(worker, work, manifests, 60 * minutes, spent_s))


@task(name="forecast-time", cache_policy=NO_CACHE)
def forecast_time(worker: Worker, work: Work, manifests: Mapping[str, DiseaseManifest]) -> Forecast | None:
    """Say how long the training of these diseases will take; None where it is too little to be worth measuring."""
    is_short = work.request.time_limit is None and not work.figures.trainable_layers and not _is_live(work)
    if not manifests or is_short:
        return None
    forecast = _forecast(work, manifests, _pace(worker, work), {})
    get_run_logger().info("Expected: %s.", forecast.sentence())
    expect(forecast)
    return forecast


def _steps(
    worker: Worker, work: Work, manifests: Mapping[str, DiseaseManifest], limit_s: float, spent_s: float
) -> int:
    asked = [limit_s, work.request.seed, work.figures.model_dump()]
    asked.append({key: manifest.digest for key, manifest in manifests.items()})
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    known = recall(work.settings.home, "steps", key)
    if known is not None:
        return int(json.loads(known))
    pace = _pace(worker, work)
    opened: dict[SpaceKey, Space] = {}
    steps = steps_that_fit(
        lambda steps: _forecast(_with_steps(work, steps), manifests, pace, opened),
        most=work.figures.steps_per_epoch,
        limit_s=limit_s,
        spent_s=spent_s,
    )
    remember(work.settings.home, "steps", key, json.dumps(steps).encode())
    return steps


def _with_steps(work: Work, steps: int) -> Work:
    return replace(work, figures=work.figures.model_copy(update={"steps_per_epoch": steps}))


def _forecast(
    work: Work, manifests: Mapping[str, DiseaseManifest], pace: Pace, opened: dict[SpaceKey, Space]
) -> Forecast:
    """Count what is not in the cache yet, and the steps."""
    missing: dict[SpaceKey, set[str]] = {}
    steps, live, scored = 0, 0, 0
    for key, manifest in manifests.items():
        wanted, figures = work.wanted(manifest), work.figures_of(key)
        for space, images in wanted.features.items():
            there = opened.setdefault(space, space.open())
            missing.setdefault(space, set()).update(image for image in images if image not in there)
        drawn = batches(manifest.counts["train"], figures=figures, seed=work.request.seed, epoch=1)
        steps += figures.epochs * len(drawn)
        counts = manifest.counts
        scored += figures.epochs * min(counts["validation"], figures.validation_steps * figures.batch_size)
        scored += counts["validation"] + counts["test"]
        if wanted.spaces.live:
            live += figures.epochs * sum(map(len, drawn))
    rows = sum(map(len, missing.values()))
    training_s = steps * pace.step_s + live * pace.image_s
    rest_s = pace.once_s + scored * pace.score_s + len(manifests) * DISEASE_S
    return Forecast(rows * pace.image_s, training_s, rest_s, rows, steps)


def _pace(worker: Worker, work: Work) -> Pace:
    """Return the pace of this backbone on this machine, measured once."""
    backbone = replace(work.backbone, weights=None, weights_digest="")
    machine = [cpu_model(), usable_cores(), importlib.metadata.version("keras")]
    sizes = [work.figures.batch_size, work.figures.dense_units, work.figures.augmentation.is_none()]
    measured = [field.name for field in fields(Pace)]
    key = hashlib.sha256(json.dumps([asdict(backbone), machine, sizes, measured]).encode()).hexdigest()
    known = recall(work.settings.home, "pace", key)
    if known is not None:
        return Pace(**json.loads(known))
    dtype = work.spaces(next(iter(work.diseases))).plain.dtype
    pace = worker.ask(measure_pace, work.backbone, dtype, work.figures)
    remember(work.settings.home, "pace", key, json.dumps(asdict(pace)).encode())
    return pace


def _is_live(work: Work) -> bool:
    return work.spaces(next(iter(work.diseases))).live
