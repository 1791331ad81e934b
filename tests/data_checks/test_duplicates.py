"""Near-duplicates found without comparing all pairs are those that comparing all pairs finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks.duplicates import MAX_WITHIN, NEAR_DUPLICATE_BITS, clusters, near_duplicates
from data_checks.perceptual_hash import variants
from tasks.core import duplicates


def random_hashes(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 32), dtype=np.uint8)


def with_flipped_bits(hashes: np.ndarray, counts, seed: int) -> np.ndarray:
    """Each row with as many of its bits inverted as `counts` says."""
    rng = np.random.default_rng(seed)
    bits = np.unpackbits(hashes, axis=1)
    for row, count in zip(bits, counts, strict=True):
        row[rng.choice(256, count, replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def all_pairs(hashes: np.ndarray, within: int, dihedral: bool = False) -> set[tuple[int, int]]:
    turned = variants(hashes) if dihedral else hashes[None]
    words = [np.ascontiguousarray(v).view(np.uint64) for v in turned]
    distance = np.min([np.bitwise_count(words[0][:, None] ^ v[None]).sum(axis=-1) for v in words], axis=0)
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


@settings(max_examples=60, deadline=None)
@given(families(), st.sampled_from([0, 1, 2, 6, 7, 8, 16, NEAR_DUPLICATE_BITS, 33]))
def test_distinct_hashes_give_exactly_the_pairs_of_comparing_all(hashes, within):
    assert as_set(near_duplicates(hashes, within=within)) == all_pairs(hashes, within)


@settings(max_examples=25, deadline=None)
@given(families(), st.sampled_from([0, 8, NEAR_DUPLICATE_BITS]), st.integers(0, 2**32 - 1), st.booleans())
def test_clusters_are_those_of_comparing_all_also_with_copies_and_turned_copies(
    hashes, within, seed, dihedral
):
    rng = np.random.default_rng(seed)
    turned = variants(hashes)[rng.integers(0, 8, len(hashes)), np.arange(len(hashes))]
    turned = with_flipped_bits(turned, rng.integers(0, 10, len(turned)), seed)
    mixed = rng.permutation(np.concatenate([hashes, hashes[: len(hashes) // 2], turned]))
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


def test_a_giant_bucket_of_lookalikes_stays_one_cluster_and_strangers_stay_out(monkeypatch):
    # Small limits, so that the window and the thinning both have to act.
    monkeypatch.setattr(duplicates, "_COMPARISONS_ALWAYS", 0)
    monkeypatch.setattr(duplicates, "_MAX_PAIRS", 3000)
    monkeypatch.setattr(duplicates, "_BLOCK", 5000)
    monkeypatch.setattr(duplicates, "_MAX_PENDING", 5000)
    lookalikes = with_flipped_bits(np.repeat(random_hashes(1, 8), 1000, axis=0), [5] * 1000, 9)
    pairs = near_duplicates(np.concatenate([lookalikes, random_hashes(300, 10)]), within=12)
    assert len(pairs) <= 3000
    labels = clusters(1300, pairs)
    assert (labels[:1000] == 0).all()
    np.testing.assert_array_equal(labels[1000:], np.arange(1000, 1300))
    assert as_set(pairs) <= all_pairs(lookalikes, 12)


def test_turned_copies_are_found_only_on_demand():
    hashes = random_hashes(16, 11)
    turned = with_flipped_bits(variants(hashes)[np.arange(16) % 8, np.arange(16)], [6] * 16, 12)
    both = np.concatenate([hashes, turned])
    assert as_set(near_duplicates(both, within=8)) == {(0, 16), (8, 24)}
    assert as_set(near_duplicates(both, within=8, dihedral=True)) == {(i, i + 16) for i in range(16)}


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
