"""Augmentation: a training image moved about as a profile's table allows, and by nothing but that table.

Stateless: what is done to an image follows from (seed, image, number) alone, so that any worker draws it at any
time and in any order, and a cached variant is the same as one drawn anew. Radiographs are never turned upside
down, and zoomed by the same factor both ways: a heart's width against the chest's is what a reader measures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.core.profile import Augmentation

#: Says what the arithmetic below is; part of the key of every cached variant.
METHOD = "affine-bilinear-1"
#: Digits of an image's sha256 that go into the seed of its draw.
_HASH_DIGITS = 32


def augment(pixels: np.ndarray, table: Augmentation, *, seed: int, image: str, number: int) -> np.ndarray:
    """Return one variant of an image: (side, side) uint8, 0-255, from and to.

    What is moved in from outside repeats the edge, as far as half a side out; beyond that it is black.

    Args:
        pixels: (side, side) uint8.
        table: how far it may be moved.
        seed: of the draw.
        image: sha256 of the image, hexadecimal.
        number: of the variant; in training without cached variants, of the epoch.
    """
    side = len(pixels)
    margin = side // 2
    (a, b, c), (d, e, f) = draw(table, seed=seed, image=image, number=number) * [1, 1, side]
    # From a pixel of the result, by way of coordinates about the middle, to a place in the padded original.
    middle = side / 2
    x = c - a * middle - b * middle + middle + margin
    y = f - d * middle - e * middle + middle + margin
    padded = Image.fromarray(np.pad(pixels, margin, mode="edge"))
    moved = padded.transform(
        (side, side), Image.Transform.AFFINE, (a, b, x, d, e, y), Image.Resampling.BILINEAR
    )
    return np.asarray(moved)


def draw(table: Augmentation, *, seed: int, image: str, number: int) -> NDArray[np.float64]:
    """Return the affine map (2, 3) from a variant to its original, about the middle, shifts in shares of the side.

    Rotation, zoom, shear and shift are uniform over their ranges; a flip comes with even odds.
    """
    random = np.random.default_rng([seed, number, int(image[:_HASH_DIGITS], 16)])
    turn, zoom, shear, right, down = random.uniform(-1, 1, 5)
    flip = -1.0 if random.random() < 0.5 and table.horizontal_flip else 1.0
    angle = np.deg2rad(table.rotation_degrees * turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    sheared = np.array([[1.0, np.tan(table.shear * shear)], [0.0, 1.0]])
    mirrored = np.diag([flip, 1.0])
    shift = table.shift * np.array([[right], [down]])
    return np.hstack([(1 + table.zoom * zoom) * rotation @ sheared @ mirrored, shift])
