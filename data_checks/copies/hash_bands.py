"""Bands of perceptual hashes: disjoint groups of bits, by which near hashes are brought together, however turned.

Stands under duplicates.py: (n, 32) uint8 hashes in; per band, every hash in the orientation in which that band's value is
least, so that an image and its flipped or turned copy meet under one value and one sort finds all eight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_checks.copies.perceptual_hash import FLIPS, HASH_BYTES, KEPT_SIDE, transposed

# Of at most 16 bits each, so that a band's values sort by radix.
FEWEST_BANDS = 16
_BITS = 8 * HASH_BYTES
# Unpacked to single precision, a hash takes 1 KiB: 8 MiB at once.
_BLOCK = 1 << 13


@dataclass(frozen=True, slots=True)
class Bands:
    """n hashes cut into bands; of each its `turns` (as it stands, transposed), which `flips` make two or eight of.

    Attributes:
        n: hashes.
        words: (4, turns * n) uint64, the hashes, then the transposed ones.
        values: (count, turns * n) uint16, the bits of each band.
        masks: (count, 4) uint64, where in the words a band's bits are.
        flip_words: (flips, 4) uint64, what each flip inverts.
        flip_values: (flips, count) uint16, what each flip inverts in each band.
        blank: (n,) bool, hashes of all zeros: a blank image is the same however turned.
    """

    n: int
    words: np.ndarray
    values: np.ndarray
    masks: np.ndarray
    flip_words: np.ndarray
    flip_values: np.ndarray
    blank: np.ndarray


@dataclass(frozen=True, slots=True)
class Entries:
    """Every hash in each orientation in which one band's value is least (mostly one), in order of that value.

    Attributes:
        index: (m,) int64, which hash.
        words: (4, m) uint64, turned.
        value: (m,) uint16, of the band, ascending.
        position: (m,) int64, in the columns of `Bands.values`.
        flip: (m,) int64, which flip.
    """

    index: np.ndarray
    words: np.ndarray
    value: np.ndarray
    position: np.ndarray
    flip: np.ndarray


def cut(hashes: np.ndarray, count: int, *, dihedral: bool) -> Bands:
    """Cut hashes into `count` bands (at least FEWEST_BANDS); with `dihedral`, all flips and quarter turns count.

    A band holds, with the frequency (row, column), also (column, row): it transposes into itself, and a flip inverts
    the same of its bits in every hash. What two hashes share in a band, they share when both are turned alike.
    """
    deal = _deal(hashes, count)
    turns = [hashes, transposed(hashes)] if dihedral else [hashes]
    flips = FLIPS if dihedral else FLIPS[:1]
    masks = np.packbits(np.stack([deal == band for band in range(count)]), axis=1)
    return Bands(
        n=len(hashes),
        words=np.concatenate([_words(turn) for turn in turns], axis=1),
        values=np.concatenate([_values(turn, deal, count) for turn in turns], axis=1),
        masks=_words(masks).T.copy(),
        flip_words=_words(flips).T.copy(),
        flip_values=_values(flips, deal, count).T.copy(),
        blank=(hashes == 0).all(axis=1),
    )


def oriented(bands: Bands, band: int) -> Entries:
    """Return the hashes turned so that the value of `band` is least, in every way that makes it so."""
    n, flips = bands.n, len(bands.flip_words)
    turned = bands.values[band].reshape(-1, 1, n) ^ bands.flip_values[:, band].reshape(1, -1, 1)
    turned = turned.reshape(-1, n)
    least = turned.min(axis=0)
    how, index = np.nonzero((turned == least) & ~(bands.blank & (np.arange(len(turned)) > 0)[:, None]))
    order = np.argsort(least[index], kind="stable")
    how, index = how[order], index[order]
    position, flip = index + how // flips * n, how % flips
    words = np.stack(
        [word[position] ^ mask[flip] for word, mask in zip(bands.words, bands.flip_words.T, strict=True)]
    )
    return Entries(index, words, least[index], position, flip)


def keys(bands: Bands, entries: Entries, other: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the entries' places in order of their band and an `other` one, and both values in one: (m,) uint32."""
    value = bands.values[other][entries.position] ^ bands.flip_values[:, other][entries.flip]
    # Two stable sorts of 16 bits are radix sorts: half the time of one sort of 32 (1 million: 30 ms for 60).
    order = np.argsort(value, kind="stable")
    order = order[np.argsort(entries.value[order], kind="stable")]
    return order, entries.value[order].astype(np.uint32) << np.uint32(16) | value[order]


def runs(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each run of two and more equal keys starts, and its length."""
    edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(starts, append=len(ordered))
    several = lengths > 1
    return starts[several], lengths[several]


def _deal(hashes: np.ndarray, count: int) -> np.ndarray:
    """Return the band of each of the 256 bits.

    Among lookalikes many bits are nearly always set or never. Dealt out like cards, from those to the evenly split ones,
    every band gets its share of both, and none is a bucket of everything. Any deal is correct.
    """
    set_bits = np.zeros(_BITS, dtype=np.int64)
    for bits in _unpacked(hashes):
        set_bits += bits.sum(axis=0, dtype=np.int64)
    uneven = np.abs(2 * set_bits - len(hashes)).reshape(KEPT_SIDE, KEPT_SIDE)
    uneven = uneven + uneven.T
    row, column = np.triu_indices(KEPT_SIDE)
    held = np.zeros(count, dtype=np.int64)
    deal = np.empty((KEPT_SIDE, KEPT_SIDE), dtype=np.int64)
    for place in np.argsort(-uneven[row, column], kind="stable"):
        band = int(held.argmin())
        r, c = row[place], column[place]
        deal[r, c] = deal[c, r] = band
        held[band] += 1 if r == c else 2
    return deal.ravel()


def _values(hashes: np.ndarray, deal: np.ndarray, count: int) -> np.ndarray:
    """Return the bits of each band as a number: (count, n) uint16."""
    weights = np.zeros((_BITS, count), dtype=np.float32)
    for band in range(count):
        bits = np.flatnonzero(deal == band)
        weights[bits, band] = 2.0 ** np.arange(len(bits))
    result = np.empty((count, len(hashes)), dtype=np.uint16)
    for block, bits in enumerate(_unpacked(hashes)):
        # Exact: sums below 2^16 of single precision.
        result[:, block * _BLOCK : block * _BLOCK + len(bits)] = (bits.astype(np.float32) @ weights).T
    return result


def _unpacked(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the bits, _BLOCK hashes at once: (k, 256) uint8."""
    for start in range(0, len(hashes), _BLOCK):
        yield np.unpackbits(hashes[start : start + _BLOCK], axis=1)


def _words(hashes: np.ndarray) -> np.ndarray:
    """Return hashes as machine words, word by word: (4, n) uint64."""
    return np.ascontiguousarray(hashes).view(np.uint64).T.copy()
