"""The pictures of a comparison: there where there is something to draw, the same whenever they are drawn."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tasks.core.comparison import Comparison, DiseaseComparison, Runs, compare_rows
from tasks.core.comparison_figures import price_figure, roc_figure
from tasks.core.cost import Cost
from tasks.core.figures import BLUE, VERMILION
from tasks.core.metrics import measure
from tasks.core.verdict import conclude


def runs(profile: str, labels, groups, noise: float, seconds: float | None, seeds: int = 1) -> Runs:
    drawn = np.random.default_rng(len(profile)).normal(0, noise, (seeds, labels.size))
    scores = np.clip(0.3 + 0.4 * labels + drawn, 0, 1)
    measured = [measure(labels, one, groups, threshold=0.5, seed=0, resamples=100) for one in scores]
    return Runs(
        profile, ["a"] * seeds, range(seeds), scores, [0.5] * seeds, measured, Cost(training_s=seconds)
    )


def compared(
    key: str, *, one_class: bool = False, seconds: float | None = 3.0, seeds: int = 1
) -> DiseaseComparison:
    labels = np.ones(80, int) if one_class else np.arange(80) % 2
    groups = np.arange(80) // 2
    first = runs("fast", labels, groups, 0.3, seconds, seeds)
    second = runs("intensive", labels, groups, 0.2, seconds and seconds * 40)
    return compare_rows(
        key, f"The ${key}$ of {{x}}", labels=labels, patients=groups, first=first, second=second
    )


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    refused = DiseaseComparison("osteoporosis", "Osteoporosis", reason="never trained")
    diseases = [compared("pneumonia", seeds=3), compared("arthritis", one_class=True), refused]
    return conclude(("fast", "intensive"), diseases)


def coloured(png: bytes, colour: str) -> int:
    """How many pixels are about of this colour."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    wanted = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(axis=-1) < 60).sum())


def test_both_curves_and_their_legend_are_drawn(comparison):
    png = roc_figure(comparison.diseases[0])
    assert png is not None
    assert Image.open(io.BytesIO(png)).size == (640, 640)
    assert coloured(png, BLUE) > 200
    assert coloured(png, VERMILION) > 200


def test_more_seeds_are_more_curves(comparison):
    one = comparison.diseases[0]
    first, second = one.sides
    single = replace(one, sides=(replace(first, curves=first.curves[:1]), second))
    drawn = [roc_figure(this) for this in (single, one)]
    assert coloured(drawn[0] or b"", BLUE) < coloured(drawn[1] or b"", BLUE)


def test_where_there_is_no_curve_there_is_no_picture(comparison):
    assert [roc_figure(one) is None for one in comparison.diseases] == [False, True, True]


def test_every_profile_has_its_mark_among_the_prices(comparison):
    png = price_figure(comparison)
    assert png is not None
    assert coloured(png, BLUE) > 50
    assert coloured(png, VERMILION) > 50


def test_unknown_seconds_leave_the_picture_of_prices_out():
    assert price_figure(conclude(("fast", "intensive"), [compared("pneumonia", seconds=None)])) is None
    assert price_figure(conclude(("fast", "intensive"), [])) is None


def test_the_same_comparison_gives_the_same_bytes(comparison):
    assert price_figure(comparison) == price_figure(comparison)
    assert roc_figure(comparison.diseases[0]) == roc_figure(comparison.diseases[0])
