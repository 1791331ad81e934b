"""Properties that metrics, intervals and operating points keep on any data."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from tasks.core import metrics
from tasks.core.metrics import measure
from tasks.core.operating_point import choose_operating_point

ONE = 1e-9


@st.composite
def rows(draw, *, both_classes=True):
    """Labels, scores (with many ties) and patients of 2 to 40 images."""
    n = draw(st.integers(2, 40))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    if both_classes:
        labels[0], labels[1] = 0, 1
    score = st.one_of(st.integers(0, 10).map(lambda k: k / 10), st.floats(0, 1, width=32))
    scores = draw(st.lists(score, min_size=n, max_size=n))
    groups = draw(st.lists(st.integers(0, 9).map(lambda k: f"p{k}"), min_size=n, max_size=n))
    return np.array(labels), np.array(scores), np.array(groups)


@given(rows(), st.data())
def test_auroc_and_average_precision_equal_scikit_learn_for_any_whole_weights(data, more):
    labels, scores, _ = data
    weights = np.array(more.draw(st.lists(st.integers(0, 3), min_size=labels.size, max_size=labels.size)))
    weights[:2] += 1
    expected = [
        f(labels, scores, sample_weight=weights)
        for f in (reference.roc_auc_score, reference.average_precision_score)
    ]
    found = [f(labels, scores, weights[None])[0] for f in (metrics.auroc, metrics.average_precision)]
    np.testing.assert_allclose(found, expected, atol=ONE)


@given(rows())
def test_a_weight_is_the_same_as_a_repeated_row(data):
    labels, scores, _ = data
    weights = np.arange(labels.size) % 3 + 1
    again = np.repeat(np.arange(labels.size), weights)
    for metric in (metrics.auroc, metrics.average_precision, metrics.brier, metrics.calibration_error):
        repeated = metric(labels[again], scores[again], np.ones((1, again.size)))
        np.testing.assert_allclose(metric(labels, scores, weights[None]), repeated, atol=ONE)


@given(rows())
def test_a_monotone_transform_of_the_scores_keeps_auroc_and_average_precision(data):
    labels, scores, _ = data
    ranks = np.unique(scores, return_inverse=True)[1] / scores.size
    weights = np.ones((1, labels.size))
    for metric in (metrics.auroc, metrics.average_precision):
        np.testing.assert_allclose(metric(labels, ranks, weights), metric(labels, scores, weights), atol=ONE)


@given(rows())
def test_swapped_labels_give_one_minus_auroc_and_swap_sensitivity_with_specificity(data):
    labels, scores, _ = data
    weights = np.ones((1, labels.size))
    np.testing.assert_allclose(
        metrics.auroc(1 - labels, scores, weights), 1 - metrics.auroc(labels, scores, weights), atol=ONE
    )
    # The share of positives at or above the threshold is 1 - the share of them below it.
    np.testing.assert_allclose(
        metrics.specificity(1 - labels, scores, weights, threshold=0.5),
        1 - metrics.sensitivity(labels, scores, weights, threshold=0.5),
        atol=ONE,
    )


@settings(max_examples=40)
@given(rows(both_classes=False), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_no_digit_of_any_value_or_interval(data, random):
    labels, scores, groups = data
    order = list(range(labels.size))
    random.shuffle(order)
    first = measure(labels, scores, groups, threshold=0.5, seed=1, resamples=100)
    second = measure(labels[order], scores[order], groups[order], threshold=0.5, seed=1, resamples=100)
    assert [one.to_json() for one in first.values()] == [one.to_json() for one in second.values()]


@settings(max_examples=60)
@given(rows(both_classes=False), st.floats(0, 1))
def test_every_estimate_is_a_share_inside_its_interval_which_has_a_width(data, threshold):
    labels, scores, groups = data
    with np.errstate(all="raise", under="ignore"):
        found = measure(labels, scores, groups, threshold=threshold, seed=0, resamples=100)
    for one in found.values():
        if one.low is None or one.high is None:
            assert one.low is one.high
        else:
            assert 0 <= one.low <= one.value <= one.high <= 1 + ONE
            assert one.high > one.low
    assert found["sensitivity"].n + found["specificity"].n == labels.size == found["ppv"].n + found["npv"].n


@given(rows(), st.floats(0.01, 1), st.sampled_from([np.float32, np.float64]))
def test_the_operating_point_reaches_the_wanted_sensitivity_and_no_higher_threshold_does(data, wanted, dtype):
    labels, scores, _ = data
    scores = scores.astype(dtype)
    point = choose_operating_point(labels, scores, wanted_sensitivity=wanted)
    said = scores >= point.threshold
    assert 0 <= point.threshold <= 1
    assert abs(said[labels == 1].mean() - point.sensitivity) < ONE
    assert abs(1 - said[labels == 0].mean() - point.specificity) < ONE
    assert point.sensitivity >= wanted - ONE
    assert (scores > scores[said].min())[labels == 1].mean() < wanted
