"""Extraction: every row once, in every variant that training draws, and not one byte more than there is room for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks import extract_features as stage
from tasks.cache import SpaceKey
from tasks.compute import describe_features
from tasks.core.backbone import weights_digest
from tasks.core.catalog import load_catalog
from tasks.core.errors import DataNotFound, StorageError
from tasks.core.profile import Profile
from tasks.extract_features import Extraction, Wanted
from tasks.feature_spaces import BackboneKey, Features, FeatureSpaces, feature_spaces
from tasks.worker import Worker
from tests import small_network

N_TRAIN, N_OTHERS = 12, 12
#: Four epochs of two batches of four of twelve images, of a pool of four.
FIGURES = load_catalog().profile(
    "intensive",
    {
        "backbone": "MobileNetV2",
        "alpha": 0.35,
        "image_side": 64,
        "precision": "float32",
        "batch_size": 4,
        "epochs": 4,
        "steps_per_epoch": 2,
        "augmentation_variants": 4,
    },
)
FOREVER = 2**40


@dataclass(frozen=True)
class Place:
    """A data root with images, a home, and the worker."""

    root: Path
    home: Path
    paths: dict[str, str]
    network: BackboneKey
    features: Features
    worker: Worker

    @property
    def train(self) -> list[str]:
        return sorted(self.paths)[:N_TRAIN]

    @property
    def others(self) -> list[str]:
        return sorted(self.paths)[N_TRAIN:]

    def spaces(self, figures: Profile = FIGURES) -> FeatureSpaces:
        pixels = SpaceKey(self.home / "cache" / "pixels", (("side", 64),), (64, 64), "uint8")
        return feature_spaces(self.home / "cache", pixels, self.network, self.features, figures)

    def wanted(self, figures: Profile = FIGURES, *, seed: int = 0, train: list[str] | None = None) -> Wanted:
        spaces, train = self.spaces(figures), self.train if train is None else train
        features = spaces.wanted(train, self.others, figures=figures, seed=seed)
        return Wanted(spaces, features, train if spaces.live else ())

    def extract(self, *wanted: Wanted, limit: int = FOREVER) -> Extraction:
        return stage.extract_features.fn(self.worker, self.root, self.paths, list(wanted), limit=limit)

    def blocks(self) -> list[Path]:
        return sorted((self.home / "cache").glob("*/*/*.block"))


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> tuple[BackboneKey, Features]:
    path = small_network.write_weights(tmp_path_factory.mktemp("weights") / "small.npz")
    key = BackboneKey("MobileNetV2", 64, 0.35, str(path), weights_digest(path), 30)
    return key, Features((2, 2, 56), "block_13_project")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A data root, and the file of each image in it."""
    root, random, paths = tmp_path_factory.mktemp("data"), np.random.default_rng(3), {}
    for number in range(N_TRAIN + N_OTHERS):
        file = root / f"{number}.png"
        Image.fromarray(random.integers(0, 256, (80, 72), np.uint8)).save(file)
        paths[hashlib.sha256(file.read_bytes()).hexdigest()] = file.name
    return root, paths


@pytest.fixture
def place(tmp_path, images, network, worker) -> Place:
    return Place(images[0], tmp_path / "home", images[1], *network, worker)


def rows(wanted: Wanted) -> int:
    return sum(len(images) for images in wanted.features.values())


def size(wanted: Collection[str], key: SpaceKey) -> int:
    return key.row_bytes() * len(wanted)


# ---- each row once


def test_rows_are_computed_once_and_another_seed_adds_only_those_that_its_batches_need(place):
    assert place.worker.ask(describe_features, place.network) == place.features
    first = place.wanted()
    computed = place.extract(first)
    assert computed.rows == rows(first) == sum(computed.computed.values())
    assert computed.images == len(computed.computed) == len(set().union(*first.features.values()))
    assert computed.costs()["features/rows_computed"] == rows(first)
    assert computed.cached_share(place.train) < 1
    for space, images in first.features.items():
        assert np.isfinite(space.open().read(sorted(images))).all()

    again = place.extract(first)
    assert (again.rows, dict(again.computed), again.embedded) == (rows(first), {}, ())
    assert again.cached_share(place.train) == 1
    assert "features/peak_memory_mib" not in again.costs()

    other = place.wanted(seed=2)
    missing = {
        space: set(images) - set(first.features.get(space, ())) for space, images in other.features.items()
    }
    added = place.extract(other)
    assert sum(added.computed.values()) == sum(map(len, missing.values()))
    assert 0 < sum(added.computed.values()) < rows(other)
    assert added.rows == rows(other)


def test_an_image_of_two_diseases_is_computed_once(place):
    figures = FIGURES.model_copy(update={"augmentation_variants": 0})
    one = place.wanted(figures)
    both = place.extract(one, place.wanted(figures))
    assert (both.rows, sum(both.computed.values())) == (N_OTHERS, N_OTHERS)


def test_pixels_that_training_itself_reads_are_there_and_no_feature_of_them(place):
    figures = FIGURES.model_copy(update={"augmentation_variants": 0})
    done = place.extract(place.wanted(figures))
    assert set(done.computed) == set(place.others)
    spaces = place.spaces(figures)
    assert spaces.pixels.open().missing(sorted(place.paths)) == []
    assert spaces.plain.open().missing(place.train) == place.train


def test_an_image_that_changed_since_the_scan_is_named_by_its_digest_alone(place, tmp_path):
    (tmp_path / "data").mkdir()
    moved = replace(place, root=tmp_path / "data")
    with pytest.raises(DataNotFound, match="An image changed or vanished") as caught:
        moved.extract(moved.wanted())
    assert ".png" not in str(caught.value)


# ---- room


def test_without_room_nothing_is_computed_and_the_number_of_variants_that_fit_is_right(place):
    """A smaller pool has more images in each variant: all that any epoch draws, in the end."""
    spaces, wanted = place.spaces(), place.wanted()
    plain = size(place.others, spaces.plain)
    drawn = set().union(*(wanted.features[space] for space in spaces.variants))
    for_two = plain + 2 * size(drawn, spaces.plain) + 2**11  # and the heads of a few blocks
    assert for_two < sum(size(images, space) for space, images in wanted.features.items())
    with pytest.raises(StorageError) as caught:
        place.extract(wanted, limit=for_two)
    said = str(caught.value)
    assert said.startswith("The features to be cached do not fit.")
    assert f"where:    {place.home / 'cache'}" in said
    assert "by RADTRAIN_CACHE_GIB" in said
    assert "--set augmentation_variants=2 fits" in caught.value.fix
    assert place.blocks() == []

    smaller = FIGURES.model_copy(update={"augmentation_variants": 2})
    done = place.extract(place.wanted(smaller), limit=for_two)
    assert sum(done.computed.values()) == rows(place.wanted(smaller))
    # The smaller pool's variants are of use to the larger one, which still does not fit.
    with pytest.raises(StorageError, match="--set augmentation_variants=2 fits"):
        place.extract(wanted, limit=for_two + sum(path.stat().st_size for path in _pixels(place)))


def _pixels(place: Place) -> list[Path]:
    return [path for path in place.blocks() if path.parent.parent.name == "pixels"]


@pytest.mark.parametrize("pool", [9, 50])
def test_a_pool_with_more_variants_than_epochs_is_told_what_fits_as_well(place, pool):
    figures = FIGURES.model_copy(update={"augmentation_variants": pool})
    wanted = place.wanted(figures)
    spaces = place.spaces(figures)
    drawn = set().union(*(wanted.features.get(space, ()) for space in spaces.variants))
    limit = size(place.others, spaces.plain) + size(drawn, spaces.plain)
    with pytest.raises(StorageError) as caught:
        place.extract(wanted, limit=limit)
    [fits] = re.findall(r"augmentation_variants=(\d+) fits", caught.value.fix)
    smaller = place.wanted(FIGURES.model_copy(update={"augmentation_variants": int(fits)}))
    assert sum(size(images, space) for space, images in smaller.features.items()) <= limit


def test_where_not_one_variant_fits_they_are_to_be_computed_while_training(place):
    with pytest.raises(StorageError) as caught:
        place.extract(place.wanted(), limit=size(place.others, place.spaces().plain) + 100)
    assert "--set augmentation_variants=0 computes them while training" in caught.value.fix
    assert place.blocks() == []


def test_features_of_images_as_they_are_that_do_not_fit_are_no_matter_of_variants(place):
    figures = FIGURES.model_copy(update={"augmentation_variants": 0})
    with pytest.raises(StorageError) as caught:
        place.extract(place.wanted(figures), limit=10)
    assert "augmentation_variants" not in caught.value.fix
    assert "radtrain cache prune" in caught.value.fix


def test_what_other_spaces_take_counts_against_the_limit(place):
    other = SpaceKey(place.home / "cache" / "features", (("of", "another"),), (1000,), "float32")
    other.open().put(["ab" * 32], np.zeros((1, 1000), np.float32))
    wanted = place.wanted()
    needed = sum(size(images, space) for space, images in wanted.features.items())
    with pytest.raises(StorageError):
        place.extract(wanted, limit=needed + 3000)


def test_a_disk_that_is_nearly_full_is_what_bounds_it(place, tiny_disk):
    small = replace(place, home=tiny_disk)
    with pytest.raises(StorageError, match="by the free disk") as caught:
        small.extract(small.wanted())
    assert caught.value.exit_code == 15
    assert small.blocks() == []
