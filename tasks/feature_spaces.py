"""Which rows of the cache a training reads: features of images as they are, and of their augmented variants.

In: a profile, its backbone and what the cache is told of them. Out: the spaces, and which image is wanted in which.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.cache import SpaceKey
from tasks.core import augmentation
from tasks.core.fitting import batches
from tasks.core.networks import network
from tasks.core.pixels import METHOD
from tasks.core.profile import Augmentation, Precision, Profile

#: Of the pool of cached variants: one pool serves every seed of a training.
POOL_SEED = 0


@dataclass(frozen=True, slots=True)
class BackboneKey:
    """Which backbone: everything that `core.backbone.build` takes, the digest of the weights, the arithmetic."""

    name: str
    side: int
    alpha: float | None
    weights: str | None
    weights_digest: str
    trainable_layers: int = 0
    precision: Precision = "float32"


@dataclass(frozen=True, slots=True)
class Features:
    """What the worker says of the features of one image: their shape, and the layer that they are the output of."""

    shape: tuple[int, ...]
    cut: str


@dataclass(frozen=True, slots=True)
class FeatureSpaces:
    """The cache spaces of one disease's training.

    Attributes:
        backbone: that computes the features.
        augmentation: what is done to training images; none of it to any other.
        pixels: of shrunk images.
        plain: of features of images as they are.
        variants: of features of training images, variant k at k - 1; empty where images are trained on as they are,
            or where each epoch computes its own.
        live: whether features of training images are computed while training, from pixels, and kept nowhere.
    """

    backbone: BackboneKey
    augmentation: Augmentation
    pixels: SpaceKey
    plain: SpaceKey
    variants: tuple[SpaceKey, ...]
    live: bool

    def of_epoch(self, figures: Profile, *, seed: int, epoch: int) -> SpaceKey:
        """Return where the features of an epoch's training images are cached."""
        variant = figures.variant(seed=seed, epoch=epoch)
        return self.variants[variant - 1] if variant else self.plain

    def read_in(self, figures: Profile, *, seed: int) -> set[SpaceKey]:
        """Return every space that a training reads."""
        if self.live:
            return {self.pixels, self.plain}
        epochs = range(1, figures.epochs + 1)
        return {self.plain, *(self.of_epoch(figures, seed=seed, epoch=epoch) for epoch in epochs)}

    def wanted(
        self, train: list[str], others: list[str], *, figures: Profile, seed: int
    ) -> dict[SpaceKey, set[str]]:
        """Return which images must be in which space before training starts.

        Args:
            train: images of the training rows, in their order.
            others: images that are only scored.
            figures: of the profile; they decide which rows each epoch draws.
            seed: of the batches.
        """
        wanted: dict[SpaceKey, set[str]] = {self.plain: set(others)}
        if self.live:
            return wanted
        if self.augmentation.is_none():
            wanted[self.plain].update(train)
            return wanted
        for epoch in range(1, figures.epochs + 1):
            space = wanted.setdefault(self.of_epoch(figures, seed=seed, epoch=epoch), set())
            for batch in batches(len(train), figures=figures, seed=seed, epoch=epoch):
                space.update(train[row] for row in batch)
        return wanted

    def drawn(self, space: SpaceKey) -> Draw | None:
        """Return how the images of a space are moved about; None where they are as they are."""
        if space not in self.variants:
            return None
        return Draw(self.augmentation, POOL_SEED, self.variants.index(space) + 1)


@dataclass(frozen=True, slots=True)
class Draw:
    """How images are moved about: by which table, with which seed, as which variant."""

    table: Augmentation
    seed: int
    number: int


def feature_spaces(
    cache: Path, pixels: SpaceKey, key: BackboneKey, features: Features, figures: Profile
) -> FeatureSpaces:
    """Return the spaces of a training.

    Args:
        cache: folder of the cache.
        pixels: of shrunk images.
        key: of the backbone.
        features: of it.
        figures: of the profile, as they are for this disease.
    """
    describes: dict[str, Any] = {
        "backbone": key.name,
        "alpha": key.alpha,
        "weights": key.weights_digest,
        "side": key.side,
        "pixels": METHOD,
        "preprocessing": network(key.name, alpha=key.alpha).preprocessing,
        "precision": key.precision,
    }
    dtype = "float32"
    if key.trainable_layers:
        describes["cut"], dtype = features.cut, "float16"

    def space(**more: Any) -> SpaceKey:
        return SpaceKey(cache / "features", tuple({**describes, **more}.items()), features.shape, dtype)

    table = figures.augmentation
    numbers = range(1, figures.augmentation_variants + 1) if not table.is_none() else ()
    drawn = {"augmentation": augmentation.METHOD, "pool": POOL_SEED, **table.model_dump()}
    variants = tuple(space(**drawn, variant=number) for number in numbers)
    live = not table.is_none() and not variants
    return FeatureSpaces(key, table, pixels, space(), variants, live)
