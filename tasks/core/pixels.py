"""Pixels: the one way from a decoded radiograph to the square that every network sees.

The way of resizing is part of a model (area and bilinear shrinking differ down to a feature cosine of 0.64), so
there is one function, used by the checks' scan, training and prediction, and its name is in every cache key.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from data_checks.images.image_facts import DECODER

#: Changes whenever `shrink` gives other pixels for the same image; part of every key of the cache.
METHOD = f"gray by decoder {DECODER}, stretched to a square, Pillow BOX filter"


def shrink(gray: np.ndarray, side: int) -> np.ndarray:
    """Return the image as a square of `side` px.

    The box filter averages all pixels that fall into one (anti-aliased, area-true); the aspect ratio is
    not kept, as in the recipe that the profiles come from.

    Args:
        gray: (height, width) uint8, 0-255.
        side: px.

    Returns:
        (side, side) uint8, 0-255.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8:
        raise ValueError(f"Expected gray (height, width) uint8. Received: {gray.shape} {gray.dtype}")
    return np.asarray(Image.fromarray(gray).resize((side, side), Image.Resampling.BOX))
