"""The spaces of a training: what their keys depend on, and that just those rows are wanted that training reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.cache import SpaceKey
from tasks.core.catalog import load_catalog
from tasks.core.fitting import batches
from tasks.core.profile import Profile
from tasks.feature_spaces import BackboneKey, Draw, Features, FeatureSpaces, feature_spaces

CACHE = Path("/home/cache")
PIXELS = SpaceKey(CACHE / "pixels", (("side", 224),), (224, 224), "uint8")
#: Of the fast profile, frozen and pooled.
FAST_KEY = BackboneKey("MobileNetV2", 128, 0.75, "/x/w.h5", "ab" * 32)
POOLED = Features((1280,), "pool")
KEY = BackboneKey("DenseNet121", 224, None, None, "random-0", 30, "bfloat16")
CUT = Features((7, 7, 896), "conv5_block12_concat")
#: Seven epochs of four batches of three, of a pool of five.
INTENSIVE = load_catalog().profile(
    "intensive", {"epochs": 7, "batch_size": 3, "steps_per_epoch": 4, "augmentation_variants": 5}
)
FAST = load_catalog().profile("fast")
TRAIN = [f"{n:064x}" for n in range(20)]
OTHERS = [f"{n:064x}" for n in range(100, 110)]


def spaces(figures: Profile = INTENSIVE, key: BackboneKey = KEY, features: Features = CUT) -> FeatureSpaces:
    return feature_spaces(CACHE, PIXELS, key, features, figures)


def of_fast(figures: Profile = FAST) -> FeatureSpaces:
    return spaces(figures, FAST_KEY, POOLED)


# ---- keys


@pytest.mark.parametrize(
    ("key", "features", "digest"),
    [
        (FAST_KEY, POOLED, "b96855a28be97021"),
        (BackboneKey("MobileNetV2", 96, 0.35, None, "random-0"), POOLED, "f26271c50c370b8d"),
        (
            BackboneKey("DenseNet121", 224, None, None, "random-0"),
            Features((1024,), "pool"),
            "7713b02f1da19b15",
        ),
    ],
)
def test_frozen_features_are_found_where_earlier_versions_put_them(key, features, digest):
    found = spaces(FAST, key, features)
    assert found.plain.digest() == digest
    assert found.plain.folder == CACHE / "features"
    assert (found.plain.shape, found.plain.dtype) == (features.shape, "float32")


def test_features_before_a_trained_tail_are_kept_in_half_precision_with_the_name_of_the_cut():
    plain = spaces().plain
    assert (plain.shape, plain.dtype) == ((7, 7, 896), "float16")
    assert dict(plain.describes)["cut"] == "conv5_block12_concat"


def test_the_number_of_trainable_layers_alone_changes_no_feature():
    assert spaces(key=replace(KEY, trainable_layers=29)).plain == spaces().plain


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "float32"},
        {"weights_digest": "random-1"},
        {"side": 128},
        {"name": "DenseNet169"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_backbone_has_other_spaces(changes):
    ours, others = spaces(), spaces(key=replace(KEY, **changes))
    assert not {ours.plain.digest(), *_digests(ours)} & {others.plain.digest(), *_digests(others)}


def test_another_cut_has_other_spaces():
    others = spaces(features=replace(CUT, cut="conv5_block13_concat"))
    assert others.plain.digest() != spaces().plain.digest()
    assert not set(_digests(others)) & set(_digests(spaces()))


def test_where_the_weights_lie_changes_nothing():
    moved = spaces(FAST, replace(FAST_KEY, weights="/elsewhere/w.h5"), POOLED)
    assert moved.plain.digest() == of_fast().plain.digest()


def test_every_variant_has_a_space_of_its_own_and_none_is_the_plain_one():
    found = spaces()
    assert len({found.plain.digest(), *_digests(found)}) == 6


@pytest.mark.parametrize("figure", ["rotation_degrees", "zoom", "shift", "shear", "horizontal_flip"])
def test_another_table_has_other_variants_of_the_same_plain_features(figure):
    table = INTENSIVE.augmentation.model_copy(update={figure: 0.05 if figure != "horizontal_flip" else False})
    others = spaces(INTENSIVE.model_copy(update={"augmentation": table}))
    assert others.plain == spaces().plain
    assert not set(_digests(others)) & set(_digests(spaces()))


def test_a_larger_pool_holds_the_variants_of_a_smaller_one():
    larger = spaces(INTENSIVE.model_copy(update={"augmentation_variants": 9}))
    assert larger.variants[:5] == spaces().variants


@pytest.mark.parametrize(
    "figure", ["epochs", "learning_rate", "batch_size", "dense_units", "steps_per_epoch"]
)
def test_figures_of_training_change_no_space(figure):
    assert spaces(INTENSIVE.model_copy(update={figure: 2})).variants == spaces().variants


def _digests(found: FeatureSpaces) -> list[str]:
    return [space.digest() for space in found.variants]


# ---- which space, and what is drawn in it


@pytest.mark.parametrize("seed", [0, 1, 5, 7])
def test_epochs_go_round_the_pool_from_another_place_for_every_seed(seed):
    found = spaces()
    used = [found.variants.index(found.of_epoch(INTENSIVE, seed=seed, epoch=n)) for n in range(1, 8)]
    assert used == [(seed + n) % 5 for n in range(7)]


def test_a_variant_is_drawn_by_the_table_the_seed_of_the_pool_and_its_number():
    found = spaces()
    drawn = [found.drawn(space) for space in found.variants]
    assert drawn == [Draw(INTENSIVE.augmentation, 0, number) for number in range(1, 6)]
    assert found.drawn(found.plain) is None


def test_images_that_are_trained_on_as_they_are_have_no_variants_and_are_not_live():
    found = of_fast(FAST.model_copy(update={"augmentation_variants": 5}))
    assert (found.variants, found.live) == ((), False)
    assert found.of_epoch(FAST, seed=3, epoch=2) == found.plain


# ---- what is wanted


def drawn_by_training(figures: Profile, seed: int) -> set[tuple[str, int]]:
    """Return the pairs of image and variant that the batches of all epochs are made of."""
    return {
        (TRAIN[row], 1 + (epoch - 1 + seed) % figures.augmentation_variants)
        for epoch in range(1, figures.epochs + 1)
        for batch in batches(len(TRAIN), figures=figures, seed=seed, epoch=epoch)
        for row in batch
    }


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("variants", [1, 5, 9])
def test_exactly_the_rows_that_batches_are_drawn_from_are_wanted(seed, variants):
    figures = INTENSIVE.model_copy(update={"augmentation_variants": variants})
    found = spaces(figures)
    wanted = found.wanted(TRAIN, OTHERS, figures=figures, seed=seed)
    assert wanted.pop(found.plain) == set(OTHERS)
    pairs = {(image, found.variants.index(space) + 1) for space, images in wanted.items() for image in images}
    assert pairs == drawn_by_training(figures, seed)
    assert len(pairs) < len(TRAIN) * min(variants, 7) or variants == 1


def test_without_augmentation_all_images_are_wanted_as_they_are():
    found = of_fast()
    assert found.wanted(TRAIN, OTHERS, figures=FAST, seed=0) == {found.plain: {*TRAIN, *OTHERS}}


def test_where_each_epoch_computes_its_own_no_training_image_is_wanted():
    figures = INTENSIVE.model_copy(update={"augmentation_variants": 0})
    found = spaces(figures)
    assert found.live
    assert found.variants == ()
    assert found.wanted(TRAIN, OTHERS, figures=figures, seed=0) == {found.plain: set(OTHERS)}
