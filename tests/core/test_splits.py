"""Splits by hash: what moves a group, what does not, and how near the shares come."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.splits import choose_split, group_key, member_key, strictest

SHARES = {"validation_share": 0.15, "test_share": 0.20}
keys = st.lists(st.text(max_size=8), min_size=1, max_size=6)


def split_of(key, seed="radtrain", **shares):
    return choose_split(key, **{**SHARES, **shares}, seed=seed)


def test_the_split_of_a_group_is_the_same_on_every_machine_and_in_every_version():
    # Golden: if this fails, every manifest in the world changes its splits.
    key = group_key([member_key(patient="p1", image="aa")])
    assert key == "cb67d8897c0b3476770f11e5941f3c7ddd789fd406330fab3c210e8f1744d1e8"
    assert "".join(split_of(f"{n}")[:2] for n in range(12)) == "tetrtrvavatrtrtrtrtetetr"


def test_a_known_patient_counts_and_not_the_image():
    assert member_key(patient="p1", image="aa") == member_key(patient="p1", image="bb")
    assert member_key(patient="p1", image="aa") != member_key(patient="p2", image="aa")


def test_without_a_patient_the_image_counts():
    assert member_key(patient=None, image="aa") != member_key(patient=None, image="bb")


def test_a_patient_who_is_called_like_an_image_is_not_that_image():
    assert member_key(patient="aa", image="bb") != member_key(patient=None, image="aa")


@settings(deadline=None, max_examples=50)
@given(keys, st.randoms(use_true_random=False))
def test_the_key_of_a_group_knows_neither_order_nor_repetition(members, random):
    again = [*members, *members]
    random.shuffle(again)
    assert group_key(again) == group_key(members)


@settings(deadline=None, max_examples=50)
@given(keys, keys)
def test_the_key_of_two_groups_together_is_that_of_one_of_them(one, other):
    assert group_key(one + other) in (group_key(one), group_key(other))


def test_shares_come_near_15_and_20_percent_on_3000_groups():
    splits = np.array([split_of(group_key([f"patient/{n}"])) for n in range(3000)])
    # Three standard errors of a share of 3,000 independent draws.
    for name, share in (("validation", 0.15), ("test", 0.20), ("train", 0.65)):
        assert abs((splits == name).mean() - share) < 3 * np.sqrt(share * (1 - share) / 3000)


def test_the_share_of_positives_agrees_between_splits_within_sampling_error():
    splits = np.array([split_of(group_key([f"patient/{n}"])) for n in range(3000)])
    positive = np.random.default_rng(0).random(3000) < 0.3
    for name in ("train", "validation", "test"):
        inside = splits == name
        assert abs(positive[inside].mean() - positive.mean()) < 3 * np.sqrt(0.3 * 0.7 / inside.sum())


def test_another_seed_draws_the_splits_anew():
    one, other = (np.array([split_of(f"{n}", seed) for n in range(2000)]) for seed in ("a", "b"))
    # Two independent draws agree in 0.65^2 + 0.15^2 + 0.20^2 of the groups.
    assert (one == other).mean() == pytest.approx(0.485, abs=0.04)


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=9), st.floats(0.01, 0.4), st.floats(0.01, 0.4))
def test_a_larger_test_share_only_adds_to_the_test_split(key, share, more):
    before = split_of(key, test_share=share)
    after = split_of(key, test_share=share + more)
    assert after == "test" or before != "test"


def test_the_whole_key_counts():
    splits = {split_of(f"{'0' * 60}{n:04d}") for n in range(60)}
    assert splits == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("given_splits", "stays"),
    [
        (["train"], "train"),
        (["validation", "train"], "validation"),
        (["train", "test", "validation"], "test"),
        (["test", "train"], "test"),
    ],
)
def test_the_strictest_split_is_the_one_furthest_from_training(given_splits, stays):
    assert strictest(given_splits) == stays
