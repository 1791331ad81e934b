"""What a completed run cost: what MLflow has of it, and the true price of features that it found in the cache.

In: a run and its plan. Out: a `Cost`; a figure that nobody measured is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.core.cost import Cost
from tasks.core.fitting import batches
from tasks.core.plan import Plan
from tasks.find_runs import CompletedRun
from tasks.tracking import Tracker

#: Of a profile's figures, those that decide how long the features of an image take.
_DECIDING = ("backbone", "alpha", "image_side", "trainable_layers", "precision")
_MIB = 2**20


def feature_rows(plan: Plan) -> int:
    """Return how many images and variants of images a training reads features of, as `FeatureSpaces.wanted` has it.

    Training images whose features are computed while training are not counted: that time is training's own.
    """
    figures, others = plan.figures, plan.n_validation + plan.n_test
    if figures.augmentation.is_none():
        return plan.n_train + others
    if not figures.augmentation_variants:
        return others
    drawn: dict[int, set[int]] = {}
    for epoch in range(1, figures.epochs + 1):
        rows = drawn.setdefault(figures.variant(seed=plan.seed, epoch=epoch), set())
        for batch in batches(plan.n_train, figures=figures, seed=plan.seed, epoch=epoch):
            rows.update(batch.tolist())
    return others + sum(map(len, drawn.values()))


def seconds_per_row(tracker: Tracker, plan: Plan) -> float | None:
    """Return what the features of one image took in the run that computed most of such features; None if no run did.

    They are such features if network, width, weights, side, cut and arithmetic are the same. Whatever disease or
    profile they were computed for, the pace is the same.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    figures = plan.figures.model_dump()
    params = {f"figures.{name}": str(figures[name]) for name in _DECIDING}
    most, pace = 0.0, None
    for found in tracker.search_runs(params={**params, "weights_digest": plan.weights_digest}):
        rows = found.metrics.get("features/rows_computed", 0.0)
        if rows > most and "features/compute_s" in found.metrics:
            most, pace = rows, found.metrics["features/compute_s"] / rows
    return pace


def architecture(plan: Plan) -> tuple[Any, ...]:
    """Return what models have in common that differ in nothing but what was trained of them."""
    figures = plan.figures
    return (*(getattr(figures, name) for name in _DECIDING), figures.dense_units, plan.weights_digest)


def cost_of(run: CompletedRun, *, pace: float | None, speed: Mapping[str, Any]) -> Cost:
    """Return what one run cost.

    Args:
        run: a completed run.
        pace: of its features, see `seconds_per_row`.
        speed: latency_s, latency_repeats and images_per_s of its model, measured now.
    """
    metrics, params = run.found.metrics, run.found.params
    peak = metrics.get("train/peak_memory_mib")
    return Cost(
        training_s=metrics.get("train/fit_s"),
        features_s=None if pace is None else pace * feature_rows(run.plan),
        parameters=_whole(params.get("parameters")),
        trainable_parameters=_whole(params.get("trainable_parameters")),
        file_bytes=run.folder.model_bytes,
        peak_bytes=None if peak is None else round(peak * _MIB),
        **speed,
    )


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
