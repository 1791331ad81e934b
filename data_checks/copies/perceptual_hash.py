"""Perceptual hash: 256 bits that stay nearly the same when a radiograph is re-encoded, resized or re-windowed.

Stands beside image_facts: gray pixels in, 32 bytes out. Each bit is the sign of one low-frequency cosine coefficient, so
brightness and contrast cancel, and the hash of a flipped or turned image follows from the hash alone.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# Side of the shrunken image whose cosine transform is taken. Four samples per period of the highest kept frequency
# (16 half-periods on 64 samples = 8 periods): blur by resizing and JPEG blocks hardly reach those signs.
SHRUNKEN_SIDE = 64
# 16 x 16 signs = 256 bits = 32 bytes, four machine words to compare.
KEPT_SIDE = 16
HASH_BYTES = KEPT_SIDE * KEPT_SIDE // 8
# Coefficients of a 64 x 64 image of gray levels are at most 64 * 255. A constant image leaves about 1e-11 by rounding; the
# faintest real structure, one gray level on one pixel, leaves 0.03. All at most this: the image is blank.
BLANK_COEFFICIENT = 1e-6


def _cosine_rows() -> np.ndarray:
    """Return the first KEPT_SIDE + 1 rows of the orthonormal DCT-II matrix: (17, 64) float64."""
    frequency = np.arange(KEPT_SIDE + 1)[:, None]
    position = np.arange(SHRUNKEN_SIDE)[None, :]
    rows = np.cos(np.pi * (2 * position + 1) * frequency / (2 * SHRUNKEN_SIDE)) * np.sqrt(2 / SHRUNKEN_SIDE)
    rows[0] /= np.sqrt(2)
    return rows


_COSINES = _cosine_rows()


def _parity_mask(odd_rows: bool, odd_columns: bool) -> np.ndarray:
    """Return the packed bits that a flip inverts: (32,) uint8. An odd frequency changes its sign under a flip."""
    odd = np.arange(KEPT_SIDE) % 2 == 1
    bits = (odd[:, None] & odd_rows) ^ (odd[None, :] & odd_columns)
    return np.packbits(bits)


_UPSIDE_DOWN = _parity_mask(True, False)
_LEFT_RIGHT = _parity_mask(False, True)
#: (4, 32) uint8: what as is, left-right, upside-down and half turn invert. With `transposed` before, all eight turns.
FLIPS = np.stack([np.zeros_like(_LEFT_RIGHT), _LEFT_RIGHT, _UPSIDE_DOWN, _LEFT_RIGHT ^ _UPSIDE_DOWN])
# Unpacked, a hash takes 256 bytes: 16 MiB at once.
_BLOCK = 1 << 16


def perceptual_hash(gray: np.ndarray) -> bytes:
    """Return the 256-bit hash of one image.

    The image is squashed to 64 x 64, transformed by a two-dimensional DCT-II, and the signs of its 16 x 16 lowest
    frequencies are kept, row by row, most significant bit first. The mean (frequency 0, 0) says nothing about the picture;
    in its place stands the sign at (16, 16), which no flip or quarter turn changes. Signs do not depend on brightness
    and contrast as long as no gray level is clipped.

    Images of one constant gray get the hash of 32 zero bytes: they match each other and, as any real image sets about half
    of its bits, nothing else.

    Args:
        gray: (height, width) uint8, 0-255, each side at least 1 px.

    Returns:
        32 bytes.

    Raises:
        ValueError: gray is not a two-dimensional, non-empty uint8 array.

    Source: signs of the lowest DCT coefficients, after Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010, section 3.2.1; there with a median in place of zero, which would break the symmetry used here.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8 or gray.size == 0:
        raise ValueError(
            f"perceptual_hash expects a non-empty (height, width) uint8 array. Received: {gray.dtype} {gray.shape}. "
            "Pass what data_checks.images.image_facts.decode returns."
        )
    # BILINEAR in Pillow widens with the shrinking factor, so it does not alias.
    small = Image.fromarray(gray).resize((SHRUNKEN_SIDE, SHRUNKEN_SIDE), Image.Resampling.BILINEAR)
    coefficients = _COSINES @ np.asarray(small, dtype=np.float64) @ _COSINES.T
    kept = coefficients[:KEPT_SIDE, :KEPT_SIDE]
    kept[0, 0] = coefficients[KEPT_SIDE, KEPT_SIDE]
    if np.abs(kept).max() <= BLANK_COEFFICIENT:
        return bytes(HASH_BYTES)
    return np.packbits(kept > 0).tobytes()


def variants(hashes: np.ndarray) -> np.ndarray:
    """Return the hashes of each image's eight flips and quarter turns, computed from the hashes alone.

    Args:
        hashes: (n, 32) uint8.

    Returns:
        (8, n, 32) uint8: as is, left-right, upside-down, half turn; then transposed, quarter turn counter-clockwise (as
        np.rot90), quarter turn clockwise, transposed along the other diagonal. A blank image's hash stays all zeros.

    Raises:
        ValueError: hashes is not (n, 32) uint8.
    """
    if hashes.ndim != 2 or hashes.shape[1] != HASH_BYTES or hashes.dtype != np.uint8:
        raise ValueError(
            f"variants expects hashes of (n, {HASH_BYTES}) uint8. Received: {hashes.dtype} {hashes.shape}."
        )
    result = np.empty((8, *hashes.shape), dtype=np.uint8)
    result[:4] = hashes ^ FLIPS[:, None]
    # Turning counter-clockwise is transposing, then turning upside down.
    result[4:] = transposed(hashes) ^ FLIPS[[0, 2, 1, 3], None]
    result[:, ~hashes.any(axis=1)] = 0
    return result


def transposed(hashes: np.ndarray) -> np.ndarray:
    """Return the hashes of the images mirrored along their diagonal: (n, 32) uint8 to (n, 32) uint8."""
    result = np.empty_like(hashes)
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK]
        bits = np.unpackbits(block, axis=1).reshape(-1, KEPT_SIDE, KEPT_SIDE).transpose(0, 2, 1)
        result[start : start + _BLOCK] = np.packbits(bits.reshape(-1, KEPT_SIDE * KEPT_SIDE), axis=1)
    return result
