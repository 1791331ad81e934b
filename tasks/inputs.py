"""What a model in training reads: pixels moved about, cached features, or features computed as they are asked for.

In: cache spaces and images. Out: functions from row numbers to arrays, so that memory holds one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks import loaded
from tasks.cache import Space, SpaceKey
from tasks.core.augmentation import augment
from tasks.core.fitting import Inputs
from tasks.core.profile import Profile
from tasks.feature_spaces import Draw, FeatureSpaces

#: Images that go through the trunk at once: nearly as fast as 64, with 0.2 GB less (docs/LOG.md).
BATCH = 16


@dataclass(frozen=True, slots=True)
class Squares:
    """Pixels of images, moved about where that is asked for."""

    space: Space
    images: list[str]
    draw: Draw | None

    def some(self, which: slice) -> np.ndarray:
        """Return (n, side, side) uint8."""
        images = self.images[which]
        squares = self.space.read(images)
        if self.draw is None:
            return squares
        table, seed, number = self.draw.table, self.draw.seed, self.draw.number
        moved = [
            augment(square, table, seed=seed, image=image, number=number)
            for square, image in zip(squares, images, strict=True)
        ]
        return np.stack(moved)


def plain_inputs(space: SpaceKey, images: list[str]) -> Inputs:
    """Return how to read the cached features of images as they are, batch by batch."""

    def read(numbers: np.ndarray, _: int) -> np.ndarray:
        return loaded.space(space).read([images[n] for n in numbers]).astype(np.float32, copy=False)

    return read


def training_inputs(spaces: FeatureSpaces, images: list[str], figures: Profile, seed: int) -> Inputs:
    """Return how to read the features of training images: of the epoch's variant, or computed for the epoch."""

    def cached(numbers: np.ndarray, epoch: int) -> np.ndarray:
        return plain_inputs(spaces.of_epoch(figures, seed=seed, epoch=epoch), images)(numbers, epoch)

    def live(numbers: np.ndarray, epoch: int) -> np.ndarray:
        wanted = [images[n] for n in numbers]
        table = spaces.augmentation
        draw = None if table.is_none() else Draw(table, seed, epoch)
        squares = Squares(loaded.space(spaces.pixels), wanted, draw)
        run = loaded.forward(spaces.backbone, spaces.plain.dtype)
        parts = [run(squares.some(slice(n, n + BATCH))) for n in range(0, len(wanted), BATCH)]
        return np.concatenate(parts).astype(np.float32, copy=False)

    return live if spaces.live else cached
