"""The operating point: reached sensitivity, place of the threshold, float32."""

import math

import numpy as np
import pytest

from tasks.core.operating_point import OperatingPoint, choose_operating_point


def test_it_takes_the_highest_threshold_that_reaches_the_wanted_sensitivity():
    point = choose_operating_point([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.5, 0.6, 0.9], wanted_sensitivity=0.6)
    assert point == OperatingPoint(
        threshold=pytest.approx(0.55),
        wanted_sensitivity=0.6,
        sensitivity=2 / 3,
        specificity=1.0,
        n=6,
        n_positive=3,
    )


def test_the_threshold_lies_halfway_to_the_next_lower_score():
    assert choose_operating_point([0, 1], [0.25, 0.75], wanted_sensitivity=1).threshold == 0.5


def test_without_a_lower_score_the_threshold_lies_halfway_to_zero():
    point = choose_operating_point([1, 0], [0.5, 0.75], wanted_sensitivity=1)
    assert (point.threshold, point.specificity) == (0.25, 0)


def test_a_lowest_score_of_zero_gives_the_threshold_zero():
    point = choose_operating_point([1, 0], [0.0, 0.75], wanted_sensitivity=1)
    assert (point.threshold, point.sensitivity) == (0, 1)


def test_tied_scores_are_called_together():
    point = choose_operating_point([1, 1, 0, 0], [0.5, 0.5, 0.5, 0.25], wanted_sensitivity=0.1)
    assert (point.threshold, point.sensitivity, point.specificity) == (0.375, 1, 0.5)


def test_the_wanted_sensitivity_is_met_exactly_when_rounding_would_ask_for_one_more():
    labels, scores = np.repeat([1, 0], 10), np.r_[np.linspace(0.9, 0.5, 10), np.linspace(0.4, 0.1, 10)]
    assert choose_operating_point(labels, scores, wanted_sensitivity=0.1 + 0.2).sensitivity == pytest.approx(
        0.3
    )
    assert choose_operating_point(labels, scores, wanted_sensitivity=0.7).sensitivity == pytest.approx(0.7)


@pytest.mark.parametrize("upper", [0.5, 0.3, 1e-30, 1.0])
def test_neighbouring_float32_scores_stay_apart_in_float32_and_in_float64(upper):
    upper = np.float32(upper)
    scores = np.array([np.nextafter(upper, np.float32(0)), upper], dtype=np.float32)
    point = choose_operating_point([0, 1], scores, wanted_sensitivity=1)
    assert (scores >= point.threshold).tolist() == [False, True]
    assert (scores.astype(np.float64) >= point.threshold).tolist() == [False, True]
    assert (point.sensitivity, point.specificity) == (1, 1)


def test_neighbouring_float64_scores_stay_apart():
    scores = np.array([np.nextafter(0.3, 0), 0.3])
    point = choose_operating_point([0, 1], scores, wanted_sensitivity=1)
    assert (scores >= point.threshold).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_threshold_does_on_the_same_rows_what_the_record_says(dtype):
    random = np.random.default_rng(0)
    for _ in range(50):
        labels = np.r_[0, 1, random.integers(0, 2, 30)]
        scores = random.random(32).astype(dtype).round(random.integers(1, 8))
        point = choose_operating_point(labels, scores, wanted_sensitivity=random.uniform(0.05, 1))
        said = scores >= point.threshold
        assert 0 <= point.threshold <= 1
        assert said[labels == 1].mean() == pytest.approx(point.sensitivity)
        assert 1 - said[labels == 0].mean() == pytest.approx(point.specificity)
        assert point.sensitivity >= point.wanted_sensitivity - 1e-9
        higher = scores > scores[said].min()
        assert higher[labels == 1].mean() < point.wanted_sensitivity


@pytest.mark.parametrize(
    ("labels", "wanted", "message"),
    [
        (
            [0, 0],
            0.9,
            r"Expected at least one positive validation image, received 0 of 2\. Add positive patients or give",
        ),
        (
            [1, 1],
            0.9,
            r"Expected at least one negative validation image, received 0 of 2\. Add negative patients or give",
        ),
        ([0, 1], 95, r"Expected a wanted sensitivity above 0 and at most 1, received 95\. 0\.95 is a share"),
        ([0, 1], 0, r"Expected a wanted sensitivity above 0 and at most 1, received 0\."),
        ([0, 1], math.nan, r"Expected a wanted sensitivity above 0 and at most 1, received nan\."),
        ([0, 3], 0.9, r"Expected labels 0 or 1, received 1 of 2"),
    ],
)
def test_bad_input_is_refused_with_expected_and_received(labels, wanted, message):
    with pytest.raises(ValueError, match=message):
        choose_operating_point(labels, [0.2, 0.8], wanted_sensitivity=wanted)
