"""Near-duplicates: which images show the same radiograph, found from perceptual hashes without comparing all pairs.

Stands between facts and manifest: (n, 32) uint8 hashes in, index pairs and cluster labels out. A manifest keeps a cluster in
one split. Exact by the pigeonhole principle, bounded in time and memory for buckets of lookalikes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from data_checks.perceptual_hash import HASH_BYTES, variants

# Most differing bits, of 256, at which two images count as one radiograph. Measured on 2,895 real radiographs of five data
# sets: of 9,559 copies (JPEG at quality 50 to 95, half to double size, contrast or brightness +-15 %, all at once) 99.97 %
# differ by at most 24 bits, none by more than 28. Of 869,000 pairs within a data set none of two different radiographs
# differs by less than 41 (knees; chests 49; 67 across data sets). Among knees every 8 bits more bring 10 to 20 times as many
# lookalikes (48: 1, 56: 22, 64: 239): a million knees would hold some thousand strange pairs at 24 and 100 times that at 40.
NEAR_DUPLICATE_BITS = 24
# Unrelated chests and knees begin here: a larger distance can only chain strangers.
MAX_WITHIN = 64

_BITS = 8 * HASH_BYTES
# Nine bands of at most 29 bits: a pair of bands, and one bit more, fits in a 64-bit key.
_FEWEST_BANDS = 9
# Comparisons allowed for one key: linear in n, and always all pairs of 1,414 hashes.
_COMPARISONS_PER_HASH = 40
_COMPARISONS_ALWAYS = 1_000_000
_WINDOWS = (1 << 62, 16384, 4096, 1024, 256, 64, 16)
# Candidates compared at once: temporaries of 2 MB each stay in the processor's cache.
_BLOCK = 1 << 18
# Found pairs held back before repetitions are removed: 16 MB.
_MAX_PENDING = 1 << 21
# Pairs kept before they are thinned to a spanning forest: 80 MB.
_MAX_PAIRS = 10_000_000
# The group's elements other than identity; the clockwise turn is left out, being the counter-clockwise one seen from the
# other image.
_DIHEDRAL_VARIANTS = (1, 2, 3, 4, 5, 7)


def near_duplicates(hashes: np.ndarray, *, within: int, dihedral: bool = False) -> np.ndarray:
    """Return index pairs whose hashes differ by at most `within` bits.

    The pairs are those between *distinct* hashes, each distinct hash named by its lowest index, plus one link from each
    further copy to that index. Connected components are therefore exactly those of all pairs, while ten thousand
    identical hashes cost ten thousand links instead of fifty million.

    Cut into `within` + 2 bands, two hashes at most `within` bits apart agree in at least two whole bands (pigeonhole). So
    for every pair of bands the hashes are sorted by those bits and only equal runs are compared: no pair is missed. Two
    rules bound hostile input:

    * A key whose runs ask for more than 40 n + 1,000,000 comparisons compares each hash with its next successors in the
      run only (the longest window that fits). A pair then may be missed under this key, but has all its other keys.
    * Beyond 10,000,000 pairs, those found so far are thinned to a spanning forest: the same components, fewer pairs.

    Args:
        hashes: (n, 32) uint8, from data_checks.perceptual_hash.
        within: Hamming distance, 0 to 64 bits; NEAR_DUPLICATE_BITS is the measured choice.
        dihedral: Also match any flip or quarter turn of the other image (about 12 times the time).

    Returns:
        (m, 2) int64, each row i < j, rows unique and in ascending order.

    Raises:
        ValueError: hashes is not (n, 32) uint8, or within is out of range.

    Source: multi-index hashing, Norouzi, Punjani, Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing",
    2014, here with two bands to a key.
    """
    if hashes.ndim != 2 or hashes.shape[1] != HASH_BYTES or hashes.dtype != np.uint8:
        raise ValueError(
            f"near_duplicates expects hashes of (n, {HASH_BYTES}) uint8. Received: {hashes.dtype} {hashes.shape}."
        )
    if not 0 <= within <= MAX_WITHIN:
        raise ValueError(
            f"near_duplicates expects within from 0 to {MAX_WITHIN} bits. Received: {within}. "
            f"Use NEAR_DUPLICATE_BITS = {NEAR_DUPLICATE_BITS}."
        )
    first, links = _collapse(hashes)
    found = _Pairs(len(hashes))
    found.add(links[:, 0], links[:, 1])
    distinct = hashes[first]
    if within > 0:
        for left, right in _close_pairs(distinct, within):
            found.add(first[left], first[right])
    if dihedral:
        for index in _DIHEDRAL_VARIANTS:
            _add_turned(found, distinct, first, index=index, within=within)
    return found.array()


def clusters(n: int, pairs: np.ndarray) -> np.ndarray:
    """Return the connected component of each of n images, named by its smallest index.

    Args:
        n: Number of images, at least 0.
        pairs: (m, 2) integers from 0 to n - 1; order and repetition do not matter.

    Returns:
        (n,) int64: labels[i] <= i, and labels[i] == i for an image alone or the first of its cluster.

    Raises:
        ValueError: a pair names an index outside 0 to n - 1.
    """
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= n):
        raise ValueError(
            f"clusters expects pairs of indices from 0 to {n - 1}. Received: {pairs.min()} to {pairs.max()}."
        )
    if n == 0:
        return np.empty(0, dtype=np.int64)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    _, smallest = np.unique(component, return_index=True)
    return smallest[component].astype(np.int64)


class _Pairs:
    """Collects pairs i < j of n indices as codes i * n + j, unique and bounded."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._unique = np.empty(0, dtype=np.int64)
        self._pending: list[np.ndarray] = []
        self._pending_count = 0
        self._labels: np.ndarray | None = (
            None  # components, once pairs are thinned: pairs within one add nothing
        )

    def add(self, left: np.ndarray, right: np.ndarray) -> None:
        if self._labels is not None:
            new = self._labels[left] != self._labels[right]
            left, right = left[new], right[new]
        low, high = np.minimum(left, right), np.maximum(left, right)
        self._pending.append((low * self._n + high)[low < high])
        self._pending_count += len(self._pending[-1])
        # A true pair is found under many keys, so most of what is pending repeats.
        if self._pending_count > _MAX_PENDING:
            self._merge()

    def array(self) -> np.ndarray:
        self._merge()
        return np.stack([self._unique // self._n, self._unique % self._n], axis=1)

    def _merge(self) -> None:
        self._unique = np.unique(np.concatenate([self._unique, *self._pending]))
        self._pending, self._pending_count = [], 0
        if len(self._unique) > _MAX_PAIRS:
            low, high = self._unique // self._n, self._unique % self._n
            graph = coo_array((np.ones(len(low), dtype=np.int8), (low, high)), shape=(self._n, self._n))
            forest = minimum_spanning_tree(graph.tocsr()).tocoo()
            low, high = np.minimum(forest.row, forest.col), np.maximum(forest.row, forest.col)
            self._unique = np.sort(low.astype(np.int64) * self._n + high)
            _, self._labels = connected_components(forest, directed=False)


def _collapse(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest index of each distinct hash (k,), ascending, and (n - k, 2) links to it from the others."""
    words = np.ascontiguousarray(hashes).view(np.uint64)
    order = np.lexsort(words.T)  # stable: equal hashes stay in the order of their indices
    ordered = words[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = order[starts]
    representative = first[np.cumsum(starts) - 1]
    copies = ~starts
    return np.sort(first), np.stack([representative[copies], order[copies]], axis=1)


def _add_turned(found: _Pairs, distinct: np.ndarray, first: np.ndarray, *, index: int, within: int) -> None:
    """Add pairs of which one image is the other's variant `index`."""
    n = len(distinct)
    both = np.concatenate([distinct, variants(distinct)[index]])
    kept, links = _collapse(both)  # an exactly mirrored copy has the very hash of the variant
    cross = (links[:, 0] < n) & (links[:, 1] >= n)
    found.add(first[links[cross, 0]], first[links[cross, 1] - n])
    if within > 0:
        # A variant collapsed into some hash is linked to it, and that hash's own pairs lead on: no component is cut.
        for left, right in _close_pairs(both[kept], within, originals=n):
            found.add(first[kept[left]], first[kept[right] - n])


def _close_pairs(
    hashes: np.ndarray, within: int, *, originals: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (left, right) positions of distinct hashes at most `within` bits apart, with repetitions.

    With `originals`, only pairs of one of the first so many hashes (left) and one of the others (right).
    """
    words = np.ascontiguousarray(hashes).view(np.uint64).T.copy()
    side = np.arange(len(hashes)) >= (len(hashes) if originals is None else originals)
    bands = _bands(hashes, max(within + 2, _FEWEST_BANDS))
    for one, other in combinations(range(len(bands)), 2):
        # 29 bits, 29 bits, and the side last: within a run of equal bands the originals come first.
        key = (
            bands[one].astype(np.uint64) << np.uint64(30)
            | bands[other].astype(np.uint64) << np.uint64(1)
            | side
        )
        order = np.argsort(key)
        ordered = [word[order] for word in words]
        for left, right in _candidates(key[order], crossing=originals is not None):
            distance = np.zeros(len(left), dtype=np.uint8)
            for word in ordered:  # few candidates outlive the second of four words
                distance += np.bitwise_count(word[left] ^ word[right])
                near = distance <= within
                left, right, distance = left[near], right[near], distance[near]
            yield order[left], order[right]


def _bands(hashes: np.ndarray, count: int) -> np.ndarray:
    """Return `count` disjoint groups of each hash's bits: (count, n) uint32.

    Among lookalikes many bits are nearly always set or never. Dealt out like cards, from those to the evenly split ones, every
    band gets its share of both, and none is a bucket of everything (candidates for knees: 30 % fewer than with shuffled bits,
    56 % fewer than with neighbouring ones). Any deal is correct.
    """
    blocks = [slice(start, start + (1 << 16)) for start in range(0, len(hashes), 1 << 16)]
    set_bits = np.zeros(_BITS, dtype=np.int64)
    for block in blocks:
        set_bits += np.unpackbits(hashes[block], axis=1).sum(axis=0, dtype=np.int64)
    dealt = np.argsort(-np.abs(2 * set_bits - len(hashes)), kind="stable")
    result = np.zeros((count, len(hashes)), dtype=np.uint32)
    for block in blocks:
        bits = np.unpackbits(hashes[block], axis=1)
        for band in range(count):
            for bit in dealt[band::count]:
                result[band, block] = result[band, block] << 1 | bits[:, bit]
    return result


def _candidates(ordered: np.ndarray, *, crossing: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of places with equal keys but for the last bit, blockwise, within the allowed number of comparisons."""
    if len(ordered) == 0:
        return
    group = ordered >> np.uint64(1)
    starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    lengths = np.diff(np.append(starts, len(ordered)))
    places = np.arange(len(ordered))
    # Each place is paired with those from `begin` on to the end of its run: all after it, or all of the other side.
    end = np.repeat(starts + lengths, lengths)
    if crossing:
        turned = (ordered & np.uint64(1)).astype(np.int64)
        begin = np.where(turned == 1, end, end - np.repeat(np.add.reduceat(turned, starts), lengths))
    else:
        begin = places + 1
    partners = end - begin
    places, begin, partners = places[partners > 0], begin[partners > 0], partners[partners > 0]
    allowed = _COMPARISONS_PER_HASH * len(ordered) + _COMPARISONS_ALWAYS
    window = next((w for w in _WINDOWS if int(np.minimum(partners, w).sum()) <= allowed), _WINDOWS[-1])
    partners = np.minimum(partners, window)
    total = np.cumsum(partners)
    done = 0
    while done < len(places):
        base = total[done - 1] if done else 0
        # At least one place, however many partners it has.
        stop = max(int(np.searchsorted(total, base + _BLOCK, side="right")), done + 1)
        count = partners[done:stop]
        left = np.repeat(places[done:stop], count)
        # Running from 0 over the block, shifted so that each place's own count starts at its `begin`.
        right = np.arange(len(left)) + np.repeat(begin[done:stop] - (total[done:stop] - count - base), count)
        yield left, right
        done = stop
