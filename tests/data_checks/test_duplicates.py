"""Near-duplicates found without comparing all pairs are those that comparing all pairs finds."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks.copies.components import Budget
from data_checks.copies.duplicates import MAX_WITHIN, NEAR_DUPLICATE_BITS, clusters, near_duplicates, turned
from data_checks.copies.perceptual_hash import variants


def random_hashes(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 32), dtype=np.uint8)


def with_flipped_bits(hashes: np.ndarray, counts, seed: int) -> np.ndarray:
    """Each row with as many of its bits inverted as `counts` says."""
    rng = np.random.default_rng(seed)
    bits = np.unpackbits(hashes, axis=1)
    for row, count in zip(bits, counts, strict=True):
        row[rng.choice(256, count, replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def distances(hashes: np.ndarray, dihedral: bool) -> np.ndarray:
    """(n, n): bits between two hashes, or between one and the nearest turn of the other."""
    words = np.ascontiguousarray(hashes).view(np.uint64)
    nearest = np.full((len(hashes), len(hashes)), 256)
    for turn in variants(hashes) if dihedral else hashes[None]:
        other = np.ascontiguousarray(turn).view(np.uint64)
        distance = sum(np.bitwise_count(words[:, None, w] ^ other[None, :, w]).astype(int) for w in range(4))
        nearest = np.minimum(nearest, distance)
    # Not the same for a blank image alone, whose turns are all one.
    return np.minimum(nearest, nearest.T)


def all_pairs(hashes: np.ndarray, within: int, dihedral: bool = False) -> set[tuple[int, int]]:
    distance = distances(hashes, dihedral)
    left, right = np.nonzero(distance <= within)
    return {(int(i), int(j)) for i, j in zip(left, right, strict=True) if i < j}


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in pairs}


@st.composite
def families(draw) -> np.ndarray:
    """Distinct hashes, many of them near each other: some originals, each with relatives of 1 to 40 other bits."""
    seed = draw(st.integers(0, 2**32 - 1))
    originals = random_hashes(draw(st.integers(1, 12)), seed)
    counts = draw(st.lists(st.integers(1, 40), max_size=60))
    parents = originals[np.random.default_rng(seed).integers(0, len(originals), len(counts))]
    made = np.concatenate([originals, with_flipped_bits(parents, counts, seed)])
    return np.random.default_rng(seed).permutation(np.unique(made, axis=0))


def with_turns(hashes: np.ndarray, seed: int) -> np.ndarray:
    """The hashes and a turned relative of each, some with bits inverted; symmetric and blank ones among them."""
    rng = np.random.default_rng(seed)
    turns = variants(hashes)[rng.integers(0, 8, len(hashes)), np.arange(len(hashes))]
    bits = np.unpackbits(hashes[:2], axis=1).reshape(-1, 16, 16)
    symmetric = np.packbits((bits & bits.transpose(0, 2, 1)).reshape(-1, 256), axis=1)
    near_blank = with_flipped_bits(np.zeros((2, 32), np.uint8), [3, 20], seed)
    flips = variants(symmetric)[:4].reshape(-1, 32)
    all_of_them = [hashes, turns, with_flipped_bits(turns, rng.integers(0, 30, len(turns)), seed), flips]
    made = np.concatenate([*all_of_them, near_blank, np.zeros((1, 32), np.uint8)])
    return rng.permutation(np.unique(made, axis=0))


WITHIN = [0, 1, 2, 6, 7, 8, 16, NEAR_DUPLICATE_BITS, 33, MAX_WITHIN]


@settings(max_examples=60, deadline=None)
@given(families(), st.sampled_from(WITHIN))
def test_distinct_hashes_give_exactly_the_pairs_of_comparing_all(hashes, within):
    assert as_set(near_duplicates(hashes, within=within)) == all_pairs(hashes, within)


@settings(max_examples=60, deadline=None)
@given(families(), st.sampled_from(WITHIN), st.integers(0, 2**32 - 1))
def test_turned_hashes_give_exactly_the_pairs_of_comparing_all_turns(hashes, within, seed):
    hashes = with_turns(hashes, seed)
    found = near_duplicates(hashes, within=within, dihedral=True)
    assert as_set(found) == all_pairs(hashes, within, dihedral=True)
    as_they_stand = distances(hashes, dihedral=False)[found[:, 0], found[:, 1]]
    np.testing.assert_array_equal(turned(hashes, found, within=within), as_they_stand > within)


@settings(max_examples=40, deadline=None)
@given(families(), st.sampled_from([4, NEAR_DUPLICATE_BITS]), st.integers(0, 2**32 - 1), st.booleans())
def test_a_crowd_has_the_components_of_comparing_all(hashes, within, seed, dihedral):
    hashes = with_turns(hashes, seed)
    everything = np.array(sorted(all_pairs(hashes, within, dihedral)), dtype=np.int64).reshape(-1, 2)
    for pairs in range(0, len(everything) + 1, max(1, len(everything) // 3)):
        # A crowd from so many pairs on, and comparisons enough.
        few = Budget(pairs_per_hash=0, pairs=pairs)
        found = near_duplicates(hashes, within=within, dihedral=dihedral, budget=few)
        assert as_set(found) <= as_set(everything)
        np.testing.assert_array_equal(clusters(len(hashes), found), clusters(len(hashes), everything))


@pytest.mark.parametrize("dihedral", [False, True])
def test_more_hashes_than_one_band_tells_apart_give_exactly_the_pairs_of_comparing_all(dihedral):
    # Lookalikes: most bits are the same in all, so that runs under one band are long and pairs of bands are used.
    strange = np.packbits(np.random.default_rng(2).random((1200, 256)) < 0.08, axis=1)
    lookalikes = np.unique(random_hashes(1, 1) ^ strange, axis=0)
    copies = variants(with_flipped_bits(lookalikes[:200], [20] * 200, 3))[np.arange(200) % 8, np.arange(200)]
    hashes = np.concatenate([lookalikes, copies])
    pairs = as_set(near_duplicates(hashes, within=NEAR_DUPLICATE_BITS, dihedral=dihedral))
    assert pairs == all_pairs(hashes, NEAR_DUPLICATE_BITS, dihedral)
    assert 1000 < len(pairs) < 40_000


@settings(max_examples=25, deadline=None)
@given(families(), st.sampled_from([0, 8, NEAR_DUPLICATE_BITS]), st.integers(0, 2**32 - 1), st.booleans())
def test_clusters_are_those_of_comparing_all_also_with_copies_and_turned_copies(
    hashes, within, seed, dihedral
):
    rng = np.random.default_rng(seed)
    turns = variants(hashes)[rng.integers(0, 8, len(hashes)), np.arange(len(hashes))]
    turns = with_flipped_bits(turns, rng.integers(0, 10, len(turns)), seed)
    mixed = rng.permutation(np.concatenate([hashes, hashes[: len(hashes) // 2], turns]))
    expected = all_pairs(mixed, within, dihedral)
    found = near_duplicates(mixed, within=within, dihedral=dihedral)
    assert as_set(found) <= expected
    everything = np.array(sorted(expected), dtype=np.int64).reshape(-1, 2)
    np.testing.assert_array_equal(clusters(len(mixed), found), clusters(len(mixed), everything))


def test_pairs_are_unique_ordered_and_ascending():
    hashes = with_flipped_bits(np.repeat(random_hashes(50, 1), 4, axis=0), [3] * 200, 2)
    pairs = near_duplicates(hashes, within=8)
    assert pairs.dtype == np.int64
    assert (pairs[:, 0] < pairs[:, 1]).all()
    np.testing.assert_array_equal(pairs, np.unique(pairs, axis=0))


def test_pairs_of_exactly_the_distance_count_and_one_more_does_not():
    hashes = random_hashes(300, 3)
    at, beyond = with_flipped_bits(hashes, [24] * 300, 4), with_flipped_bits(hashes, [25] * 300, 5)
    pairs = as_set(near_duplicates(np.concatenate([hashes, at, beyond]), within=24))
    assert pairs == {(i, i + 300) for i in range(300)}


def test_a_giant_bucket_of_identical_hashes_costs_one_link_each():
    hashes = np.concatenate([np.repeat(random_hashes(1, 6), 20_000, axis=0), random_hashes(500, 7)])
    pairs = near_duplicates(hashes, within=NEAR_DUPLICATE_BITS)
    np.testing.assert_array_equal(pairs, np.stack([np.zeros(19_999, int), np.arange(1, 20_000)], axis=1))


def test_a_crowd_beyond_its_budget_stays_one_cluster_and_strangers_stay_out():
    lookalikes = with_flipped_bits(np.repeat(random_hashes(1, 8), 300, axis=0), [5] * 300, 9)
    hashes = np.concatenate([lookalikes, random_hashes(300, 10)])
    allowed = all_pairs(lookalikes, 12)
    assert as_set(near_duplicates(hashes, within=12)) == allowed
    for budget in (Budget(0, 0, 0, 3000), Budget(40, 0, 0, 0), Budget(0, 0, 0, 0)):
        pairs = near_duplicates(hashes, within=12, budget=budget)
        assert len(pairs) < len(allowed)
        assert as_set(pairs) <= allowed
        labels = clusters(600, pairs)
        assert (labels[:300] == 0).all()
        np.testing.assert_array_equal(labels[300:], np.arange(300, 600))


def test_a_large_crowd_of_distinct_lookalikes_costs_seconds_and_keeps_its_components():
    crowds = [
        with_flipped_bits(np.repeat(random_hashes(1, s), 10_000, axis=0), [6] * 10_000, s) for s in (1, 2)
    ]
    # On the rim of the second crowd: 24 bits from one of it, and no nearer to any other.
    rim = with_flipped_bits(crowds[1][:1], [24], 5)
    hashes = np.concatenate([*crowds, rim, random_hashes(2000, 6)])
    began = time.perf_counter()
    pairs = near_duplicates(hashes, within=NEAR_DUPLICATE_BITS, dihedral=True)
    assert time.perf_counter() - began < 60
    assert len(pairs) < 1_000_000
    labels = clusters(len(hashes), pairs)
    np.testing.assert_array_equal(np.unique(labels), [0, 10_000, *range(20_001, 22_001)])
    assert labels[20_000] == 10_000


def test_turned_copies_are_found_only_on_demand():
    hashes = random_hashes(16, 11)
    turns = with_flipped_bits(variants(hashes)[np.arange(16) % 8, np.arange(16)], [6] * 16, 12)
    both = np.concatenate([hashes, turns])
    assert as_set(near_duplicates(both, within=8)) == {(0, 16), (8, 24)}
    pairs = near_duplicates(both, within=8, dihedral=True)
    assert as_set(pairs) == {(i, i + 16) for i in range(16)}
    np.testing.assert_array_equal(turned(both, pairs, within=8), np.arange(16) % 8 != 0)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("dihedral", [False, True])
def test_none_or_one_image_has_no_pairs(n, dihedral):
    assert near_duplicates(random_hashes(n, 13), within=24, dihedral=dihedral).shape == (0, 2)


def test_clusters_are_named_by_their_smallest_index():
    pairs = np.array([[5, 2], [2, 4], [0, 6]])
    np.testing.assert_array_equal(clusters(7, pairs), [0, 1, 2, 3, 2, 2, 0])


def test_without_pairs_everyone_is_alone():
    np.testing.assert_array_equal(clusters(3, np.empty((0, 2), np.int64)), [0, 1, 2])
    assert clusters(0, np.empty((0, 2), np.int64)).shape == (0,)


@pytest.mark.parametrize("pairs", [[[0, 3]], [[-1, 2]]])
def test_pairs_outside_the_images_are_refused(pairs):
    with pytest.raises(ValueError, match=r"expects pairs of indices from 0 to 2\. Received: "):
        clusters(3, np.array(pairs))


@pytest.mark.parametrize("within", [-1, MAX_WITHIN + 1])
def test_a_distance_out_of_range_is_refused(within):
    with pytest.raises(ValueError, match=r"within from 0 to 64 bits\. Received: .*NEAR_DUPLICATE_BITS = 24"):
        near_duplicates(random_hashes(3, 0), within=within)


@pytest.mark.parametrize(
    "hashes", [np.zeros(32, np.uint8), np.zeros((2, 31), np.uint8), np.zeros((2, 32), np.int64)]
)
def test_other_than_hashes_are_refused(hashes):
    with pytest.raises(ValueError, match=r"expects hashes of \(n, 32\) uint8\. Received: "):
        near_duplicates(hashes, within=24)
