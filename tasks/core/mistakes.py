"""Which test images a profile gets wrong with the most confidence, and what is shown of them.

In: labels, scores and operating points of two profiles on the same test rows. Out: row numbers, and the record that a
page of the comparison draws. Pictures are for the reader at this machine: they enter no log, tag or artifact.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from tasks.core.curves import Floats
from tasks.core.delong import checked_scores

#: Mistakes that are shown of one disease.
SHOWN = 4
#: px, of both sides of a thumbnail: networks see squares.
THUMBNAIL_SIDE = 128
#: Vermilion of Okabe & Ito (2008), which stands out from gray with any kind of colour vision.
_HEAT = np.array([213, 94, 0], np.float32)
#: Share of it where the heat is 1: the anatomy below must still be seen.
_OPACITY = 0.75
#: Colours of a picture with heat: it is half as large as with all of them, and looks the same.
_COLOURS = 96


@dataclass(frozen=True, slots=True)
class Mistake:
    """One test image that at least one of two profiles got wrong, at its own operating point.

    Attributes:
        disease: key of the catalog.
        image: first 12 hexadecimal digits of the sha256 of its bytes.
        label: 0 or 1.
        scores: of the first and of the second profile, 0-1.
        thresholds: their operating points, 0-1; `score >= threshold` is positive.
        wrong: whether the first and whether the second got it wrong.
        thumbnail: PNG of the image as networks see it, gray, a square of `THUMBNAIL_SIDE` px; None where it could not
            be read.
        heat: PNG of the image with the Grad-CAM map of the first and of the second profile over it, as large as the
            thumbnail; None where there is none.
    """

    disease: str
    image: str
    label: int
    scores: tuple[float, float]
    thresholds: tuple[float, float]
    wrong: tuple[bool, bool]
    thumbnail: bytes | None = None
    heat: tuple[bytes | None, bytes | None] = (None, None)


def confident_mistakes(
    labels: ArrayLike, scores: ArrayLike, thresholds: tuple[float, float], *, shown: int = SHOWN
) -> list[int]:
    """Return the rows that the two profiles got wrong with the most confidence, each profile's in turn.

    Confidence is how far the score lies on the wrong side of the threshold, as a share of the room there: 1 is a
    score of 0 for a positive, or of 1 for a negative. Rows of the same confidence come in their own order.

    Args:
        labels: (n,) 0 or 1.
        scores: (2, n) float, 0-1; of the first and of the second profile.
        thresholds: of both.
        shown: rows that are returned at most; a row that both got wrong counts once.

    Raises:
        ValueError: bad labels or scores.
    """
    y, both = checked_scores(labels, scores)
    lines = [_ranked(margins(y, side, threshold)) for side, threshold in zip(both, thresholds, strict=True)]
    return list(dict.fromkeys(_in_turn(*lines)))[:shown]


def margins(labels: ArrayLike, scores: Floats, threshold: float) -> Floats:
    """Return (n,) how confident each mistake is, 0-1; -1 where there is none.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) 0-1.
        threshold: `score >= threshold` is positive.
    """
    positive = np.asarray(labels) == 1
    room = np.where(positive, threshold, 1 - threshold)
    distance = np.where(positive, threshold - scores, scores - threshold)
    confidence = np.divide(distance, room, out=np.zeros_like(distance, dtype=np.float64), where=room > 0)
    return np.where((scores >= threshold) != positive, confidence, -1.0)


def thumbnail(square: np.ndarray) -> bytes:
    """Return a PNG of `THUMBNAIL_SIDE` px a side.

    Args:
        square: (side, side) uint8 gray pixels.
    """
    return _png(_small(square))


def heat_picture(square: np.ndarray, heat: np.ndarray) -> bytes:
    """Return a PNG of `THUMBNAIL_SIDE` px a side: the image, tinted the more the hotter.

    Args:
        square: (side, side) uint8 gray pixels.
        heat: (height, width) float, 0-1; of any size.
    """
    gray = np.asarray(_small(square), np.float32)[..., None]
    sides = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    wide = Image.fromarray(heat.astype(np.float32)).resize(sides, Image.Resampling.BILINEAR)
    share = _OPACITY * np.clip(np.asarray(wide), 0, 1)[..., None]
    mixed = np.rint(gray * (1 - share) + _HEAT * share).astype(np.uint8)
    return _png(Image.fromarray(mixed).quantize(_COLOURS, dither=Image.Dither.NONE))


def _small(square: np.ndarray) -> Image.Image:
    return Image.fromarray(square).resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)


def _png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    return data.getvalue()


def _ranked(confidence: Floats) -> list[int]:
    order = np.argsort(-confidence, kind="stable")
    return order[confidence[order] >= 0].tolist()


def _in_turn(first: list[int], second: list[int]) -> Iterator[int]:
    for pair in zip_longest(first, second):
        yield from (row for row in pair if row is not None)
