"""Components: which of n images hang together by pairs, directly or over others.

Stands under duplicates.py and the manifest: pairs of indices in, the smallest index of each one's component out; and the
collector that turns too many pairs into fewer links with the same components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

# Pairs held back before they join components: 32 MB.
_MAX_PENDING = 1 << 21


@dataclass(frozen=True, slots=True)
class Budget:
    """How much crowds of lookalikes may cost; each bound grows with the number n of distinct hashes.

    Attributes:
        comparisons_per_hash: under one key, n times. A million evenly spread hashes, turned, need 5.
        comparisons: under one key, besides: always all pairs of 1,414 hashes.
        pairs_per_hash: n times, all of them kept: 16 copies to an image.
        pairs: kept besides: all of 316 copies of one image.
    """

    comparisons_per_hash: int = 40
    comparisons: int = 1_000_000
    pairs_per_hash: int = 8
    pairs: int = 50_000


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


class Collector:
    """Pairs of n things as they are found: all of them, until there is a crowd; from then on a spanning forest.

    Attributes:
        labels: (n,) int64 components so far, once there is a crowd: a pair within one adds nothing.
    """

    def __init__(self, n: int, budget: Budget) -> None:
        self.labels: np.ndarray | None = None
        self._n = n
        self._most = budget.pairs_per_hash * n + budget.pairs
        self._kept = [np.empty((0, 2), dtype=np.int64)]
        self._pending: list[np.ndarray] = []
        self._count = 0

    def array(self) -> np.ndarray:
        """Return what was kept: (m, 2) int64, possibly with repetitions."""
        return np.concatenate(self._kept + self._pending)

    def add(self, left: np.ndarray, right: np.ndarray) -> None:
        """Add pairs; one thing is no pair with itself."""
        apart = left != right if self.labels is None else self.labels[left] != self.labels[right]
        self._pending.append(np.stack([left[apart], right[apart]], axis=1))
        self._count += len(self._pending[-1])
        if self._count > (self._most if self.labels is None else _MAX_PENDING):
            self.join()

    def join(self) -> None:
        """Bring the components up to date; from now on pairs within one are no longer kept."""
        if self.labels is None:
            self.labels = clusters(self._n, self.array())
            self._kept += self._pending
        elif self._count:
            self._kept.append(self._forest(self.labels, np.concatenate(self._pending)))
        self._pending, self._count = [], 0

    def _forest(self, labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """Join the components that pairs link; return a spanning forest of those pairs."""
        ends = np.sort(labels[pairs], axis=1)
        _, where = np.unique(ends[:, 0] * self._n + ends[:, 1], return_index=True)
        ends, pairs = ends[where], pairs[where]
        # A link weighs its number plus one, by which the forest's links are found again.
        weight = np.arange(1, len(pairs) + 1)
        graph = coo_array((weight, (ends[:, 0], ends[:, 1])), shape=(self._n, self._n))
        forest = minimum_spanning_tree(graph.tocsr()).data.astype(np.int64) - 1
        self.labels = clusters(self._n, ends[forest])[labels]
        return pairs[forest]
