"""Near-duplicates: which images show the same radiograph, found from perceptual hashes without comparing all pairs.

Stands between facts and manifest: (n, 32) uint8 hashes in, index pairs and cluster labels out. A manifest keeps a cluster in
one split. Exact by the pigeonhole principle, bounded in time and memory for crowds of lookalikes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_checks.copies.components import Budget, Collector, clusters
from data_checks.copies.hash_bands import FEWEST_BANDS, Bands, Entries, cut, keys, oriented, runs
from data_checks.copies.perceptual_hash import HASH_BYTES

__all__ = ["MAX_WITHIN", "NEAR_DUPLICATE_BITS", "clusters", "near_duplicates", "turned"]

# Most differing bits, of 256, at which two images count as one radiograph. Measured on 2,895 real radiographs of five data
# sets: of 9,559 copies (JPEG at quality 50 to 95, half to double size, contrast or brightness +-15 %, all at once) 99.97 %
# differ by at most 24 bits, none by more than 28. Of 869,000 pairs within a data set none of two different radiographs
# differs by less than 37 (knees; chests 49; 67 across data sets). Among knees every 8 bits more bring 10 to 20 times as many
# lookalikes (48: 1, 56: 22, 64: 239): a million knees would hold some thousand strange pairs at 24 and 100 times that at 40.
NEAR_DUPLICATE_BITS = 24
# Unrelated chests and knees begin here: a larger distance can only chain strangers.
MAX_WITHIN = 64

_WINDOWS = (1 << 62, 16384, 4096, 1024, 256, 64, 16)
# Where in a run stand those that all others are compared with; the one in the middle belongs to what is more than half of it.
_CENTRES = (0.5, 0.25, 0.75)
# Comparisons, per hash and besides, up to which one band tells enough apart: 26 sorts instead of 325.
_ONE_BAND = (30, 100_000)
# Candidates compared at once: temporaries of 2 MB each stay in the processor's cache.
_BLOCK = 1 << 18
_BUDGET = Budget()


def near_duplicates(
    hashes: np.ndarray, *, within: int, dihedral: bool = False, budget: Budget = _BUDGET
) -> np.ndarray:
    """Return index pairs whose hashes differ by at most `within` bits.

    The pairs are all those between *distinct* hashes, each distinct hash named by its lowest index, plus one link from
    each further copy to that index. Connected components are therefore exactly those of all pairs, while ten thousand
    identical hashes cost ten thousand links instead of fifty million.

    Cut into `within` + 2 bands, two hashes at most `within` bits apart agree in at least two whole bands (pigeonhole). So
    for every pair of bands the hashes are sorted by those bits and only equal runs are compared: no pair is missed. With
    `dihedral`, each hash is first turned so that the one band is least; turned copies then agree in the other as well.

    Crowds of distinct lookalikes would have more pairs than fit in memory. Beyond the budget (of pairs found, or of
    comparisons under one key) only hashes of different components are compared, and what is found joins
    components: the same components, fewer pairs. If even those comparisons are too many, all in a run are compared with
    three of its members, and then each with its next successors only (the longest window that fits). A pair then may be
    missed under this key, but has all its other keys.

    Args:
        hashes: (n, 32) uint8, from data_checks.copies.perceptual_hash.
        within: Hamming distance, 0 to 64 bits; NEAR_DUPLICATE_BITS is the measured choice.
        dihedral: Also match any flip or quarter turn of the other image; `turned` tells which pairs those are.
        budget: How much crowds may cost.

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
    near = _close_pairs(hashes[first], within=within, dihedral=dihedral, budget=budget)
    return np.unique(np.concatenate([links, np.sort(first[near], axis=1)]), axis=0)


def turned(hashes: np.ndarray, pairs: np.ndarray, *, within: int) -> np.ndarray:
    """Return which pairs match only when one of the two images is flipped or turned.

    Args:
        hashes: (n, 32) uint8.
        pairs: (m, 2) integers, found by `near_duplicates` with `dihedral`.
        within: as it was there.

    Returns:
        (m,) bool.
    """
    words = np.ascontiguousarray(hashes).view(np.uint64)
    distance = np.zeros(len(pairs), dtype=np.uint16)
    for word in words.T:
        distance += np.bitwise_count(word[pairs[:, 0]] ^ word[pairs[:, 1]])
    return distance > within


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


def _close_pairs(distinct: np.ndarray, *, within: int, dihedral: bool, budget: Budget) -> np.ndarray:
    """Return (m, 2) positions of distinct hashes at most `within` bits apart."""
    n = len(distinct)
    found = Collector(n, budget)
    if n < 2 or (within == 0 and not dihedral):
        return found.array()
    count = max(within + 2, FEWEST_BANDS)
    bands = cut(distinct, count, dihedral=dihedral)
    allowed = budget.comparisons_per_hash * n + budget.comparisons
    for band in range(count):
        entries = oriented(bands, band)
        starts, lengths = runs(entries.value)
        if _comparisons(lengths) <= min(_ONE_BAND[0] * n + _ONE_BAND[1], allowed):
            search = _Search(entries, bands, within, before=tuple(range(band)))
            search.run(found, np.arange(len(entries.index)), starts, lengths, allowed)
            continue
        for other in range(band + 1, count):
            order, key = keys(bands, entries, other)
            before = (*range(band), *range(band + 1, other))
            _Search(entries, bands, within, before).run(found, order, *runs(key), allowed)
    return found.array()


def _comparisons(lengths: np.ndarray) -> int:
    return int((lengths * (lengths - 1) // 2).sum())


@dataclass(frozen=True, slots=True)
class _Search:
    """The comparisons under one key.

    Attributes:
        entries: turned hashes.
        bands: of all hashes.
        within: Hamming distance.
        before: bands; a pair that agrees in one of them was found under an earlier key.
    """

    entries: Entries
    bands: Bands
    within: int
    before: tuple[int, ...]

    def run(
        self, found: Collector, order: np.ndarray, starts: np.ndarray, lengths: np.ndarray, allowed: int
    ) -> None:
        """Compare what stands in the same run of `order`."""
        if len(starts) == 0:
            return
        if found.labels is None and _comparisons(lengths) > allowed:
            found.join()
        run = np.repeat(np.arange(len(starts)), lengths)
        first = np.cumsum(lengths) - lengths
        who = order[np.arange(len(run)) + (starts - first)[run]]
        end = (first + lengths)[run]
        if found.labels is None:
            for left, right in _blocks(np.arange(1, len(run) + 1), end):
                self._add_new(found, who[left], who[right])
            return
        who, begin = self._by_component(found.labels, who, run)
        if int((end - begin).sum()) > allowed:
            for share in _CENTRES:
                centre = who[first + (lengths * share).astype(np.int64)]
                self._add(found, centre[run], who)
                found.join()
                who, begin = self._by_component(found.labels, who, run)
        partners = end - begin
        window = next((w for w in _WINDOWS if int(np.minimum(partners, w).sum()) <= allowed), _WINDOWS[-1])
        for left, right in _blocks(begin, np.minimum(end, begin + window)):
            self._add(found, who[left], who[right])
        found.join()

    def _by_component(
        self, labels: np.ndarray, who: np.ndarray, run: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sort each run by component; return it, and where the component of each member ends."""
        label = labels[self.entries.index[who]]
        order = np.lexsort((label, run))
        who, label = who[order], label[order]
        last = np.flatnonzero((label[1:] != label[:-1]) | (run[1:] != run[:-1]))
        ends = np.append(last + 1, len(who))
        return who, np.repeat(ends, np.diff(ends, prepend=0))

    def _add(self, found: Collector, left: np.ndarray, right: np.ndarray) -> None:
        left, right = self._near(left, right)
        found.add(self.entries.index[left], self.entries.index[right])

    def _add_new(self, found: Collector, left: np.ndarray, right: np.ndarray) -> None:
        """Add the near pairs that no earlier key has found."""
        left, right = self._near(left, right)
        for band in self.before:
            if len(left) == 0:
                return
            different = np.zeros(len(left), dtype=bool)
            for word, mask in zip(self.entries.words, self.bands.masks[band], strict=True):
                if mask:
                    different |= (word[left] ^ word[right]) & mask != 0
            left, right = left[different], right[different]
        found.add(self.entries.index[left], self.entries.index[right])

    def _near(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = np.zeros(len(left), dtype=np.uint8)
        for word in self.entries.words:  # few candidates outlive the second of four words
            distance = distance + np.bitwise_count(word[left] ^ word[right])
            near = np.flatnonzero(distance <= self.within)
            left, right, distance = left[near], right[near], distance[near]
        return left, right


def _blocks(begin: np.ndarray, end: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each place with all those from its `begin` to its `end`, a block at a time."""
    places = np.flatnonzero(end > begin)
    begin, partners = begin[places], (end - begin)[places]
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
