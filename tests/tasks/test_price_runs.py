"""What runs cost: the true price of cached features, counted as training asks for them."""

from __future__ import annotations

import pytest

from tasks.cache import SpaceKey
from tasks.core.profile import Augmentation, Profile
from tasks.feature_spaces import BackboneKey, Features, feature_spaces
from tasks.find_runs import find_runs
from tasks.price_runs import cost_of, feature_rows, seconds_per_row
from tests.compared_runs import FIGURES, Home

SPEED = {"latency_s": 0.01, "latency_repeats": 50, "images_per_s": 99.0}
MOVED = Augmentation(rotation_degrees=10, shift=0.1)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Home:
    return Home.make(tmp_path_factory.mktemp("store") / "home")


def completed(store: Home, **words):
    home = store.for_another_disease()
    home.complete("fast", **words)
    home.complete("intensive", figures=FIGURES.model_copy(update={"image_side": 96}))
    (match,) = find_runs.fn(home.settings, "fast", "intensive", [home.disease])
    return match.sides[0][0]


def changed(**figures) -> Profile:
    return FIGURES.model_copy(update=figures)


@pytest.mark.parametrize(
    "figures",
    [
        FIGURES,
        changed(augmentation=MOVED),
        changed(augmentation=MOVED, augmentation_variants=2),
        changed(augmentation=MOVED, augmentation_variants=2, epochs=5),
        changed(augmentation=MOVED, augmentation_variants=9, batch_size=3, steps_per_epoch=2),
        changed(augmentation=MOVED, augmentation_variants=3, steps_per_epoch=500),
    ],
)
@pytest.mark.parametrize("seed", [0, 4])
def test_rows_are_counted_as_training_asks_for_them(store, tmp_path, figures, seed):
    plan = completed(store, figures=figures, seed=seed).plan
    key = BackboneKey("MobileNetV2", 64, 0.35, None, "random-0")
    pixels = SpaceKey(tmp_path / "pixels", (), (64, 64), "uint8")
    spaces = feature_spaces(tmp_path, pixels, key, Features((1280,), "pool"), figures)
    train = [f"train {n}" for n in range(plan.n_train)]
    others = [f"other {n}" for n in range(plan.n_validation + plan.n_test)]
    wanted = spaces.wanted(train, others, figures=figures, seed=seed)
    assert feature_rows(plan) == sum(len(images) for images in wanted.values()) > 0


def test_features_from_the_cache_cost_what_the_run_took_that_computed_most_of_them(store):
    plan = completed(store, computed=200, weights_digest="paced").plan
    completed(store, computed=3, weights_digest="paced")
    completed(store, computed=900, weights_digest="other")
    store.parent("distilled", "", plan, {"features/compute_s": 240.0, "features/rows_computed": 400.0})
    last = completed(store, weights_digest="paced")
    pace = seconds_per_row(store.tracker, last.plan)
    assert pace == pytest.approx(240 / 400)
    assert cost_of(last, pace=pace, speed=SPEED).features_s == pytest.approx(0.6 * (100 + 20 + 40))


@pytest.mark.parametrize(
    "other", [{"image_side": 128}, {"alpha": 0.5}, {"precision": "bfloat16"}, {"trainable_layers": 30}]
)
def test_features_of_another_kind_say_nothing_of_the_price(store, other):
    digest = f"only {other}".replace("'", "")
    completed(store, computed=100, weights_digest=digest, figures=changed(**other))
    last = completed(store, weights_digest=digest)
    pace = seconds_per_row(store.tracker, last.plan)
    assert pace is None
    assert cost_of(last, pace=pace, speed=SPEED).features_s is None


def test_every_figure_of_the_cost_comes_from_the_run_its_folder_or_the_clock(store):
    cost = cost_of(completed(store, seed=2), pace=0.01, speed=SPEED)
    assert (cost.training_s, cost.parameters, cost.trainable_parameters) == (5.0, 1000, 100)
    assert (cost.peak_bytes, cost.file_bytes) == (512 * 2**20, 0)
    assert (cost.latency_s, cost.latency_repeats, cost.images_per_s) == (0.01, 50, 99.0)
    assert cost.seconds == pytest.approx(5.0 + 1.6)
