"""Inverted polarity: does an image look like a negative of the others of its disease?

Stands between facts and evidence: thumbnails and borders of a disease's used images in, one number per image out. What
number is too low is in limits.toml. Whether the whole set is inverted cannot be seen from the set.
"""

from __future__ import annotations

import numpy as np

# How much the thumbnail's corners, its outer ring, and the narrow border count beside its inner cells: the background at
# the margin of a radiograph is dark, whatever it shows. Measured on five sets of real radiographs (2,671 images, each once
# among the 5 % inverted on purpose), share below -0.5 with the thumbnail alone, and as here: arms and hands 72 and 91 %, knees
# 92 and 95 %, the others 96 to 100 % with both. None of the 2,657 upright ones lies below -0.37. With the border at 2 and
# no corners, three with a white frame fall below -0.6.
_CORNERS, _RING, _BORDER = 4.0, 2.0, 1.0
# With fewer, every image makes up much of what is typical itself.
FEWEST = 20
# Gray levels of 255, standard deviation of the thumbnail: below, there is nothing to compare.
BLANK = 1.0
# Half of the images lie at least so near to the typical one or to its negative, or nothing is typical. The five real sets:
# 0.80 (arms and hands) to 0.93; noise: at most 0.43 (20 images), 0.32 (100).
COHERENT = 0.5

_OUTER = np.arange(8) % 7 == 0  # the first and the last of a row or column
_WEIGHTS = np.choose(np.add.outer(_OUTER, _OUTER, dtype=int), [1.0, _RING, _CORNERS]).ravel()


def polarity(thumbnails: np.ndarray, border: np.ndarray) -> np.ndarray:
    """Return how each image's brightness pattern correlates with the typical one of the set.

    A pattern is the thumbnail and the border, less the thumbnail's mean, weighted, at length 1. The typical pattern is the
    leading direction of all (inverted images lie on the same line, at the other end), with the sign of the majority;
    then the mean of those on its side, so that the inverted do not blur it.

    Args:
        thumbnails: (n, 64) uint8, 0-255.
        border: (n, 8) uint8, 0-255.

    Returns:
        (n,) float64, -1 to 1: about 1 typical, 0 unlike, about -1 a negative. NaN for a blank image, and for all where
        fewer than `FEWEST` are left or the set has no typical image.

    Raises:
        ValueError: other shapes or another dtype.
    """
    for name, array, width in (("thumbnails", thumbnails, 64), ("border", border, 8)):
        if array.shape != (len(thumbnails), width) or array.dtype != np.uint8:
            raise ValueError(
                f"Expected {name} of ({len(thumbnails)}, {width}) uint8. Received: {array.shape} {array.dtype}. "
                "They are the columns of the facts."
            )
    found = np.full(len(thumbnails), np.nan)
    told = thumbnails.std(axis=1) >= BLANK
    if told.sum() < FEWEST:
        return found
    patterns = _patterns(thumbnails[told], border[told])
    scores = patterns @ _leading(patterns)
    if (scores < 0).sum() * 2 > len(scores):
        scores = -scores
    scores = patterns @ _unit(patterns[scores > 0].mean(axis=0))
    if np.median(np.abs(scores)) >= COHERENT:
        found[told] = np.clip(scores, -1, 1)
    return found


def _patterns(thumbnails: np.ndarray, border: np.ndarray) -> np.ndarray:
    """Return (n, 72) float64 of length 1 each."""
    mean = thumbnails.mean(axis=1, keepdims=True)
    both = np.hstack([_WEIGHTS * (thumbnails - mean), _BORDER * (border - mean)])
    return both / np.linalg.norm(both, axis=1, keepdims=True)


def _leading(patterns: np.ndarray) -> np.ndarray:
    """Return the direction (72,) along which patterns are longest, whatever their sign."""
    return np.linalg.eigh(patterns.T @ patterns)[1][:, -1]


def _unit(pattern: np.ndarray) -> np.ndarray:
    return pattern / np.linalg.norm(pattern)
