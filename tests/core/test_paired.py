"""The paired statistics against formulas, brute force and other libraries, and where there is nothing to say."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.core.delong import delong_covariance
from tasks.core.paired import MARGIN, PairedAurocs, compare_aurocs, holm, images_needed, mcnemar
from tests.core.paired_data import rows

#: How well the seeds of two profiles separate the classes, so that they differ by more than chance of the rows.
UNEQUAL_SEEDS = np.array([0.2, 1.8, 1.0, 2.6, 1.0, 0.1, 1.9])[:, None]


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only_has_no_auroc_and_says_why(label):
    found = compare_aurocs([label] * 7, range(7), [0.1] * 7, [0.2] * 7)
    assert found == PairedAurocs(
        n=7,
        patients=7,
        reason=f"all 7 test images are {['negative', 'positive'][label]}, so there is no AUROC",
    )


def test_one_patient_of_a_class_has_a_difference_but_no_interval():
    found = compare_aurocs([1, 1, 0, 0], ["a", "a", "b", "c"], [0.9, 0.8, 0.1, 0.85], [0.9, 0.8, 0.1, 0.2])
    assert found.difference == pytest.approx(-0.25)
    assert (found.low, found.high, found.p_value, found.row_variance) == (None,) * 4
    assert found.reason == "the positive test images are of fewer than two patients, so the spread is unknown"
    with pytest.raises(ValueError, match="two patients of each class, received rows where the positive"):
        delong_covariance([1, 1, 0, 0], ["a", "a", "b", "c"], [[0.9, 0.8, 0.1, 0.85]])


ALIKE = [
    pytest.param([0.9, 0.8, 0.3, 0.6], [0.9, 0.8, 0.3, 0.6], id="the same scores"),
    pytest.param([0.9, 0.8, 0.3, 0.6], [0.5, 0.4, 0.1, 0.2], id="the same order"),
    pytest.param([0.9, 0.8, 0.3, 0.2], [0.7, 0.8, 0.1, 0.6], id="both perfect"),
    pytest.param([0.4] * 4, [0.6] * 4, id="both constant"),
    pytest.param([0.1, 0.2, 0.8, 0.9], [0.2, 0.1, 0.9, 0.8], id="both the wrong way round"),
]


@pytest.mark.parametrize(("first", "second"), ALIKE)
@pytest.mark.parametrize("patients", [10, 40])
def test_models_that_never_disagree_get_an_interval_as_wide_as_their_patients_are_few(
    first, second, patients
):
    labels = np.tile([1, 1, 0, 0], patients // 2)
    found = compare_aurocs(
        labels, np.arange(labels.size), np.tile(first, patients // 2), np.tile(second, patients // 2)
    )
    unseen = 1 - 0.025 ** (1 / patients)
    assert (found.difference, found.p_value, found.row_variance) == (0, 1, 0)
    assert (found.low, found.high) == pytest.approx((-unseen, unseen))
    assert "rank every positive against every negative alike" in found.reason
    assert images_needed(found) is None


def test_a_perfect_model_against_a_constant_one_is_tested_by_the_number_of_patients():
    labels = np.repeat([0, 1], 8)
    perfect, constant, wrong = labels * 0.9, np.full(16, 0.5), 0.9 - labels * 0.9
    against_wrong = compare_aurocs(labels, np.arange(16), perfect, wrong)
    assert (against_wrong.difference, against_wrong.high) == (1, 1)
    assert against_wrong.low == pytest.approx(2 * 0.025 ** (1 / 8) - 1)
    assert against_wrong.p_value == pytest.approx(stats.binomtest(8, 8).pvalue)
    against_constant = compare_aurocs(labels, np.arange(16), perfect, constant)
    low, high = stats.binomtest(6, 8).proportion_ci()
    assert against_constant.difference == 0.5
    assert (against_constant.low, against_constant.high) == pytest.approx((2 * low - 1, 2 * high - 1))
    assert against_constant.p_value == pytest.approx(stats.binomtest(6, 8).pvalue)
    assert against_constant.reason.startswith("all patients show the same difference")
    # The formula alone would have said p = 0.
    swapped = compare_aurocs(labels, np.arange(16), constant, perfect)
    assert (swapped.p_value, swapped.low) == pytest.approx((against_constant.p_value, -against_constant.high))


@pytest.mark.parametrize("kinds", [[1, 0, 0], [0, 1, 1]])
def test_models_that_err_on_other_images_of_the_same_patients_do_not_rank_alike(kinds):
    labels, groups = np.tile(kinds, 6), np.arange(18) // 3
    first, second = np.tile([0.5, 0.2, 0.8], 6), np.tile([0.5, 0.8, 0.2], 6)
    found = compare_aurocs(labels, groups, first, second)
    # Six patients make three pairs in which none is used twice; 1.5 of 3, for a mean need not be whole.
    end = 2 * stats.beta.ppf(0.025, 1.5, 2.5) - 1
    assert (found.difference, found.row_variance, found.p_value) == (0, 0, 1)
    assert found.reason.startswith("all patients show the same difference")
    assert (found.low, found.high) == pytest.approx((end, -end))


def test_a_constant_model_is_compared_like_any_other():
    labels, groups, scores = rows(200, patients=90)
    found = compare_aurocs(labels, groups, scores[0], np.full(200, 0.3))
    own, covariance = delong_covariance(labels, groups, scores[:1])
    assert found.second == (0.5,)
    assert found.difference == pytest.approx(own[0] - 0.5)
    assert found.row_variance == pytest.approx(covariance[0, 0])
    assert found.reason == ""


def test_scores_that_are_broken_or_of_other_rows_are_refused():
    labels, groups = [0, 1, 0, 1], range(4)
    with pytest.raises(ValueError, match="finite scores, received 1 of 4"):
        compare_aurocs(labels, groups, [0.1, math.nan, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ValueError, match="one score for each label, received 4 labels and 3 scores"):
        compare_aurocs(labels, groups, [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="one patient for each of 4 images"):
        compare_aurocs(labels, range(3), [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4])


def test_several_seeds_add_what_the_rows_do_not_explain():
    labels, groups, scores = rows(150, patients=70, models=7, shift=UNEQUAL_SEEDS)
    found = compare_aurocs(labels, groups, scores[:4], scores[4:])
    aurocs, covariance = delong_covariance(labels, groups, scores)
    weights = np.r_[np.full(4, 1 / 4), np.full(3, -1 / 3)]
    assert found.difference == pytest.approx(weights @ aurocs)
    assert found.row_variance == pytest.approx(weights @ covariance @ weights)
    expected, spread = 0.0, 0.0
    for part, count in ((slice(0, 4), 4), (slice(4, 7), 3)):
        own = covariance[part, part]
        from_rows = np.diag(own).mean() - own[~np.eye(count, dtype=bool)].mean()
        mean = max(0, np.var(aurocs[part], ddof=1) - from_rows) / count
        expected, spread = expected + mean, spread + mean**2 / (count - 1)
    assert expected > 0
    assert found.seed_variance == pytest.approx(expected)
    error = math.sqrt(found.row_variance + expected)
    student = stats.t((found.row_variance + expected) ** 2 / spread)
    assert found.p_value == pytest.approx(2 * student.sf(abs(found.difference) / error))
    assert found.high - found.low == pytest.approx(2 * student.ppf(0.975) * error)


def test_seeds_that_change_nothing_leave_the_plain_test():
    labels, groups, scores = rows(150, patients=70)
    plain = compare_aurocs(labels, groups, scores[0], scores[1])
    repeated = compare_aurocs(labels, groups, [scores[0]] * 3, [scores[1]] * 2)
    assert plain.seed_variance == repeated.seed_variance == 0
    assert repeated.p_value == pytest.approx(plain.p_value)
    assert (repeated.low, repeated.high) == pytest.approx((plain.low, plain.high))


def test_a_profile_with_one_seed_is_taken_to_vary_like_the_other():
    labels, groups, scores = rows(150, patients=70, models=5, shift=UNEQUAL_SEEDS[:5])
    both = compare_aurocs(labels, groups, scores[:4], scores[:4])
    between = both.seed_variance / 2 * 4
    assert between > 0
    one = compare_aurocs(labels, groups, scores[:4], scores[4])
    other = compare_aurocs(labels, groups, scores[4], scores[:4])
    assert one.seed_variance == pytest.approx(between / 4 + between) == pytest.approx(other.seed_variance)


def test_the_images_needed_follow_the_formula_and_reach_the_power():
    found = PairedAurocs(n=84, patients=84, row_variance=0.0004)
    needed = images_needed(found)
    assert needed == math.ceil(84 * 0.0004 * ((1.959963984540054 + 0.8416212335729143) / MARGIN) ** 2) == 660
    error = math.sqrt(0.0004 * 84 / needed)
    assert stats.norm.sf(stats.norm.isf(0.025) - MARGIN / error) == pytest.approx(0.8, abs=0.001)
    assert images_needed(found, difference=2 * MARGIN) == math.ceil(needed / 4)


def test_no_number_of_images_is_enough_where_seeds_vary_too_much_or_nothing_varies():
    assert images_needed(PairedAurocs(n=84, patients=84, row_variance=0.0004, seed_variance=0.00002)) > 660
    assert images_needed(PairedAurocs(n=84, patients=84, row_variance=0.0004, seed_variance=0.0001)) is None
    assert images_needed(PairedAurocs(n=84, patients=84, row_variance=0.0)) is None
    assert images_needed(PairedAurocs(n=84, patients=84)) is None


def answers(b, c, *, both=5):
    """Right and wrong of two models with b and c discordant images, one per patient."""
    first = np.r_[np.ones(b), np.zeros(c), np.ones(both)].astype(bool)
    return first, np.r_[np.zeros(b), np.ones(c), np.ones(both)].astype(bool)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (0, 6), (7, 7), (3, 12), (25, 40), (400, 250)])
def test_mcnemar_equals_the_binomial_test_where_each_patient_has_one_image(b, c):
    found = mcnemar(*answers(b, c), range(b + c + 5))
    assert (found.only_first, found.only_second, found.n) == (b, c, b + c + 5)
    assert found.p_value == pytest.approx(stats.binomtest(b, b + c).pvalue if b + c else 1.0)


def test_mcnemar_and_holm_equal_statsmodels():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    random = np.random.default_rng(0)
    found = []
    for _ in range(20):
        b, c = random.integers(0, 60, 2)
        found.append(mcnemar(*answers(b, c), range(b + c + 5)).p_value)
        assert found[-1] == pytest.approx(tables.mcnemar([[5, b], [c, 0]], exact=True).pvalue)
    assert holm(found) == pytest.approx(multitest.multipletests(found, method="holm")[1])


def test_mcnemar_reverses_patients_not_images():
    random = np.random.default_rng(1)
    groups = random.integers(0, 9, 60)
    first, second = random.random(60) < 0.7, random.random(60) < 0.5
    surplus = [int(first[groups == g].sum()) - int(second[groups == g].sum()) for g in range(9)]
    assert len(set(map(abs, surplus)) - {0}) > 1
    sums = [abs(np.dot(signs, surplus)) for signs in itertools.product((1, -1), repeat=9)]
    expected = np.mean(np.array(sums) >= abs(sum(surplus)))
    assert mcnemar(first, second, groups).p_value == pytest.approx(expected, abs=1e-12)
    # Ten images of each patient that say the same are not ten times as much evidence.
    first, second = (np.repeat(one, 10) for one in answers(1, 6))
    assert mcnemar(first, second, np.repeat(np.arange(12), 10)).p_value == stats.binomtest(1, 7).pvalue
    assert mcnemar(first, second, np.arange(120)).p_value < 1e-9


def test_mcnemar_of_several_seeds_counts_the_mean_pair():
    first, second = answers(4, 9)
    once, twice = mcnemar(first, second, range(18)), mcnemar([first, first], [second] * 3, range(18))
    assert (twice.only_first, twice.only_second, twice.p_value) == pytest.approx((4, 9, once.p_value))
    mixed = mcnemar([first, second], [second], range(18))
    assert (mixed.only_first, mixed.only_second) == (2, 4.5)


def test_mcnemar_refuses_answers_on_other_images():
    with pytest.raises(ValueError, match="same images, at least one, received 3 and 2"):
        mcnemar([True] * 3, [True] * 2, range(3))
    with pytest.raises(ValueError, match="at least one, received 0 and 0"):
        mcnemar([], [], [])


def test_holm_steps_down_and_leaves_out_what_was_not_tested():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06], nan_ok=False)
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([None]) == [None]
    assert holm([]) == []


@pytest.mark.parametrize("images", [1, 4])
def test_under_the_null_p_values_are_uniform_and_would_not_be_if_patients_were_ignored(images):
    random = np.random.default_rng(7)
    groups, labels = np.repeat(np.arange(60), images), np.repeat(np.arange(60) % 2, images)
    found, careless = [], []
    for number in range(1500):
        own = random.normal(size=(2, 60))[:, groups] + 0.5 * random.normal(size=(2, labels.size))
        scores = 1 / (1 + np.exp(-labels - own - random.normal(size=60)[groups]))
        found.append(compare_aurocs(labels, groups, *scores).p_value)
        if number < 300:
            careless.append(compare_aurocs(labels, np.arange(labels.size), *scores).p_value)
    # Of 1,500 uniform numbers the distance is below 0.042 in 99 of 100 cases.
    assert stats.kstest(found, "uniform").statistic < 0.05
    assert 0.035 < np.mean(np.array(found) < 0.05) < 0.065
    assert (np.mean(np.array(careless) < 0.05) > 0.2) == (images > 1)


def test_a_hundred_thousand_images_take_less_than_two_seconds():
    random = np.random.default_rng(0)
    labels, groups, scores = (
        random.integers(0, 2, 100_000),
        random.integers(0, 40_000, 100_000),
        random.random((2, 100_000)),
    )
    began = time.perf_counter()
    found = compare_aurocs(labels, groups, *scores)
    mcnemar((scores[0] >= 0.5) == labels, (scores[1] >= 0.5) == labels, groups)
    assert time.perf_counter() - began < 2
    assert found.high - found.low < 0.02


@st.composite
def any_rows(draw):
    """Labels of both classes, patients, and scores of two to three models with many ties."""
    n = draw(st.integers(4, 30))
    column = st.lists(st.integers(0, 8).map(lambda k: k / 8), min_size=n, max_size=n)
    labels = [0, 1, 0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 4, max_size=n - 4))]
    groups = draw(st.lists(st.integers(0, 9).map(lambda k: f"p{k}"), min_size=n, max_size=n))
    models = [draw(st.lists(column, min_size=1, max_size=3)) for _ in range(2)]
    return np.array(labels), np.array(groups), np.array(models[0]), np.array(models[1])


def told(found):
    """The figures that a change of no meaning must leave alone."""
    figures = (found.difference, found.low, found.high, found.p_value)
    return [math.nan if one is None else one for one in figures]


@settings(max_examples=60, deadline=None)
@given(any_rows(), st.randoms(use_true_random=False))
def test_the_comparison_keeps_its_properties_on_any_rows(data, random):
    labels, groups, first, second = data
    found = compare_aurocs(labels, groups, first, second)
    swapped = compare_aurocs(labels, groups, second, first)
    difference, low, high, p_value = told(found)
    assert told(swapped) == pytest.approx([-difference, -high, -low, p_value], abs=1e-9, nan_ok=True)
    order = np.array(random.sample(range(labels.size), labels.size))
    moved = compare_aurocs(labels[order], groups[order], first[:, order], second[:, order])
    assert told(moved) == pytest.approx(told(found), abs=1e-12, nan_ok=True)
    bent = compare_aurocs(labels, groups, first**3 / 2, np.tanh(second))
    assert told(bent) == pytest.approx(told(found), abs=1e-12, nan_ok=True)
    if found.low is None:
        assert found.reason
        assert found.p_value is None
    else:
        assert -1 <= found.low <= found.difference <= found.high <= 1
        assert 0 <= found.p_value <= 1
        assert found.low < found.high
