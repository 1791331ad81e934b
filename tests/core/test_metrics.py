"""Metrics, their intervals, and what the intervals say when the data says nothing."""

import json
import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from tasks.core import metrics, resampling
from tasks.core.curves import precision_recall_curve, reliability, roc_curve
from tasks.core.metrics import Estimate, measure
from tasks.core.resampling import patient_resamples

KEYS = [
    "auroc",
    "average_precision",
    "accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "brier",
    "calibration_error",
]


def simulated(n, *, seed=0, patients=None, decimals=None):
    """Labels, scores and patients of a fair classifier; `decimals` rounds the scores into ties."""
    random = np.random.default_rng(seed)
    groups = random.integers(0, patients or n, n)
    labels = random.integers(0, 2, n)
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + random.normal(size=n))))
    return labels, scores if decimals is None else scores.round(decimals), groups


def patients_with_several_images(random, *, patients, images, shift):
    """Images whose label and error are mostly the patient's."""
    labels = np.repeat(random.integers(0, 2, patients), images)
    logits = shift * (2 * labels - 1) + np.repeat(random.normal(size=patients), images) * 1.5
    logits += random.normal(size=labels.size) * 0.3
    return labels, 1 / (1 + np.exp(-logits)), np.repeat(np.arange(patients), images)


@pytest.mark.parametrize("decimals", [None, 1])
def test_every_metric_equals_scikit_learn_with_resample_weights(decimals):
    labels, scores, _ = simulated(200, decimals=decimals)
    weights = np.random.default_rng(1).integers(0, 4, size=(7, 200))
    said = (scores >= 0.5).astype(int)
    ours = {
        name: getattr(metrics, name)(labels, scores, weights)
        for name in ("auroc", "average_precision", "brier")
    } | {
        name: getattr(metrics, name)(labels, scores, weights, threshold=0.5)
        for name in (
            "accuracy",
            "sensitivity",
            "specificity",
            "positive_predictive_value",
            "negative_predictive_value",
        )
    }
    theirs = {
        "auroc": lambda w: reference.roc_auc_score(labels, scores, sample_weight=w),
        "average_precision": lambda w: reference.average_precision_score(labels, scores, sample_weight=w),
        "brier": lambda w: reference.brier_score_loss(labels, scores, sample_weight=w),
        "accuracy": lambda w: reference.accuracy_score(labels, said, sample_weight=w),
        "sensitivity": lambda w: reference.recall_score(labels, said, sample_weight=w),
        "specificity": lambda w: reference.recall_score(labels, said, pos_label=0, sample_weight=w),
        "positive_predictive_value": lambda w: reference.precision_score(labels, said, sample_weight=w),
        "negative_predictive_value": lambda w: reference.precision_score(
            labels, said, pos_label=0, sample_weight=w
        ),
    }
    assert ours.keys() == theirs.keys()
    for name, metric in theirs.items():
        np.testing.assert_allclose(ours[name], [metric(w) for w in weights], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("decimals", [None, 1])
def test_calibration_error_equals_the_bins_of_scikit_learn_weighted_by_their_size(decimals):
    labels, scores, _ = simulated(300, decimals=decimals)
    weights = np.random.default_rng(1).integers(0, 3, size=(5, 300))
    for row, found in zip(weights, metrics.calibration_error(labels, scores, weights), strict=True):
        y, s = np.repeat(labels, row), np.repeat(scores, row)
        seen, said = calibration_curve(y, s, n_bins=10)
        count = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], s), minlength=10)
        assert found == pytest.approx(np.abs(seen - said) @ count[count > 0] / row.sum())


@pytest.mark.parametrize("decimals", [None, 1])
def test_the_curves_equal_scikit_learn(decimals):
    labels, scores, _ = simulated(100, decimals=decimals)
    ours, (false, true, thresholds) = (
        roc_curve(labels, scores),
        reference.roc_curve(labels, scores, drop_intermediate=False),
    )
    np.testing.assert_allclose(ours.false_positive_rate, false)
    np.testing.assert_allclose(ours.sensitivity, true)
    np.testing.assert_array_equal(ours.thresholds, thresholds)
    curve, (precision, recall, cuts) = (
        precision_recall_curve(labels, scores),
        reference.precision_recall_curve(labels, scores),
    )
    np.testing.assert_allclose(curve.precision, precision[:-1][::-1])
    np.testing.assert_allclose(curve.recall, recall[:-1][::-1])
    np.testing.assert_array_equal(curve.thresholds, cuts[::-1])


def test_reliability_puts_edges_into_the_lower_bin_and_leaves_empty_bins_undefined():
    bins = reliability([0, 1, 1, 0], [0.0, 0.5, 1.0, 0.6], bins=2)
    assert bins.count.tolist() == [2, 2]
    assert bins.observed_rate.tolist() == [0.5, 0.5]
    assert bins.mean_score.tolist() == [0.25, 0.8]
    assert np.isnan(reliability([1], [0.05]).mean_score[1:]).all()


def test_a_metric_without_its_denominator_is_nan_and_warns_nobody():
    weights = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    labels, scores = [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]
    with np.errstate(all="raise"):
        assert np.isnan(metrics.auroc(labels, scores, weights)).tolist() == [True, True, True, False]
        assert np.isnan(metrics.average_precision(labels, scores, weights)).tolist() == [
            True,
            True,
            True,
            False,
        ]
        assert np.isnan(metrics.brier(labels, scores, weights)).tolist() == [False, False, True, False]
        assert np.isnan(metrics.calibration_error(labels, scores, weights)).tolist() == [
            False,
            False,
            True,
            False,
        ]
        sensitivity = metrics.sensitivity(labels, scores, weights, threshold=0.5)
        ppv = metrics.positive_predictive_value(labels, scores, weights, threshold=0.5)
        npv = metrics.negative_predictive_value(labels, scores, weights, threshold=0.5)
    assert np.isnan(sensitivity).tolist() == [True, False, True, False]
    assert np.isnan(ppv).tolist() == [True, False, True, False]
    assert np.isnan(npv).tolist() == [False, True, True, False]


def test_measure_returns_nine_metrics_in_order_with_the_images_each_rests_on():
    labels, scores = np.array([0, 0, 0, 1, 1, 0]), np.array([0.1, 0.2, 0.6, 0.4, 0.9, 0.3])
    found = measure(labels, scores, np.arange(6), threshold=0.5, seed=0, resamples=100)
    assert list(found) == KEYS
    assert [one.n for one in found.values()] == [6, 6, 6, 2, 4, 2, 4, 6, 6]
    assert found["accuracy"].value == pytest.approx(4 / 6)
    assert found["sensitivity"].value == 0.5
    assert found["specificity"].value == 0.75
    assert found["ppv"].value == 0.5
    assert found["npv"].value == 0.75
    assert found["auroc"].value == pytest.approx(7 / 8)


def test_an_interval_holds_its_value_and_the_same_seed_gives_the_same_interval():
    labels, scores, groups = simulated(150, patients=60)
    first = measure(labels, scores, groups, threshold=0.5, seed=3, resamples=300)
    assert first == measure(labels, scores, groups, threshold=0.5, seed=3, resamples=300)
    assert first != measure(labels, scores, groups, threshold=0.5, seed=4, resamples=300)
    for one in first.values():
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
        assert one.low < one.high


def test_the_interval_is_the_percentiles_of_a_plain_bootstrap_over_patients():
    labels, scores, groups = simulated(40, patients=15)
    found = measure(labels, scores, groups, threshold=0.5, seed=5, resamples=200)
    draws = np.random.default_rng(5).integers(0, np.unique(groups).size, size=(200, np.unique(groups).size))
    values = []
    for draw in draws:
        rows = np.concatenate([np.flatnonzero(groups == np.unique(groups)[one]) for one in draw])
        if 0 < labels[rows].sum() < rows.size:
            values.append(reference.roc_auc_score(labels[rows], scores[rows]))
    np.testing.assert_allclose([found["auroc"].low, found["auroc"].high], np.quantile(values, [0.025, 0.975]))


def test_chunks_do_not_change_the_resamples(monkeypatch):
    groups = np.array(["b", "a", "c", "a", "d"])
    whole = np.concatenate(list(patient_resamples(groups, seed=1, resamples=150)))
    monkeypatch.setattr(resampling, "CHUNK", 35)
    pieces = list(patient_resamples(groups, seed=1, resamples=150))
    assert len(pieces) > 5
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert whole.shape == (150, 5)
    np.testing.assert_array_equal(whole[:, 1], whole[:, 3])
    np.testing.assert_array_equal(whole[:, [0, 1, 2, 4]].sum(axis=1), 4)


def test_resamples_depend_on_the_set_of_patients_and_not_on_the_order_of_rows():
    groups = np.array(["p10", "p2", "p7", "p2"])
    order = np.array([3, 0, 2, 1])
    first = np.concatenate(list(patient_resamples(groups, seed=1, resamples=100)))
    second = np.concatenate(list(patient_resamples(groups[order].astype(object), seed=1, resamples=100)))
    np.testing.assert_array_equal(first[:, order], second)


def test_ten_of_ten_is_not_certainty():
    labels, scores = np.repeat([0, 1], 10), np.r_[np.linspace(0, 0.3, 10), np.linspace(0.7, 1, 10)]
    found = measure(labels, scores, np.arange(20), threshold=0.5, seed=0)
    for name in ("sensitivity", "specificity", "ppv", "npv", "auroc"):
        assert found[name].value == 1
        assert found[name].low == pytest.approx(0.025 ** (1 / 10))
        assert found[name].high == 1
    assert found["accuracy"].low == pytest.approx(0.025 ** (1 / 20))
    assert 0.5 < found["average_precision"].low < found["auroc"].low


def test_none_of_ten_is_not_certainty():
    labels, scores = np.repeat([0, 1], 10), np.r_[np.linspace(0.7, 1, 10), np.linspace(0, 0.3, 10)]
    found = measure(labels, scores, np.arange(20), threshold=0.5, seed=0)
    for name in ("sensitivity", "specificity", "ppv", "npv", "auroc"):
        assert (found[name].value, found[name].low) == (0, 0)
        assert found[name].high == pytest.approx(1 - 0.025 ** (1 / 10))


def test_a_perfect_brier_score_is_not_certainty():
    found = measure(np.repeat([0, 1], 5), np.repeat([0.0, 1.0], 5), np.arange(10), threshold=0.5, seed=0)
    for name in ("brier", "calibration_error"):
        assert (found[name].value, found[name].low) == (0, 0)
        assert found[name].high == pytest.approx(1 - 0.025 ** (1 / 10))


def test_the_bound_counts_patients_and_not_their_images():
    labels, scores = np.repeat([0, 1], 30), np.repeat([0.1, 0.9], 30)
    found = measure(labels, scores, np.repeat(np.arange(12), 5), threshold=0.5, seed=0)
    assert found["sensitivity"].n == 30
    assert found["sensitivity"].low == pytest.approx(0.025 ** (1 / 6))
    assert found["auroc"].low == pytest.approx(0.025 ** (1 / 6))


def test_equal_patients_who_are_half_right_do_not_give_an_interval_without_width():
    labels, scores = np.tile([1, 1, 0, 0], 8), np.tile([0.9, 0.1, 0.1, 0.9], 8)
    found = measure(labels, scores, np.repeat(np.arange(8), 4), threshold=0.5, seed=0)
    low, high = found["sensitivity"].low, found["sensitivity"].high
    assert (low, high) == (
        pytest.approx(0.157, abs=1e-3),
        pytest.approx(0.843, abs=1e-3),
    )  # Clopper-Pearson, 4 of 8
    assert found["auroc"].low == pytest.approx(0.068, abs=1e-3)  # 2 of 4 disjoint pairs of the 8 patients


def test_the_bound_of_a_perfect_auroc_uses_each_patient_in_one_pair_only():
    labels = np.array([1, 0] * 3 + [1] * 4 + [0] * 2)
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8])
    scores = np.where(labels == 1, 0.9, 0.1)
    # 4 patients are only positive, 2 only negative, 3 both: at most 4 pairs of two patients.
    assert measure(labels, scores, groups, threshold=0.5, seed=0)["auroc"].low == pytest.approx(
        0.025 ** (1 / 4)
    )


def test_the_bound_of_a_perfect_average_precision_falls_with_fewer_patients_and_with_rarer_disease():
    lows = []
    for negatives, positives in ((400, 40), (40, 40), (40, 10), (40, 4)):
        labels = np.repeat([0, 1], [negatives, positives])
        scores = np.where(labels == 1, 0.9, 0.1)
        found = measure(labels, scores, np.arange(labels.size), threshold=0.5, seed=0, resamples=100)
        lows.append(found["average_precision"].low)
    assert 0 < lows[3] < lows[2] < lows[1] < 1
    rare = resampling._perfect_average_precision(np.repeat([0, 1], [990, 10]), positive=10, negative=10)
    common = resampling._perfect_average_precision(np.repeat([0, 1], [10, 10]), positive=10, negative=10)
    assert 0 < rare < common < 0.025 ** (1 / 10)


def test_a_world_at_the_bound_shows_perfect_separation_in_at_most_one_of_forty_samples():
    random = np.random.default_rng(0)
    true_auroc = 0.025 ** (1 / 10)
    shift = math.sqrt(2) * 0.502  # Normal scores with this distance have an AUROC of 0.69.
    positive, negative = random.normal(shift, 1, (4000, 10)), random.normal(0, 1, (4000, 10))
    assert (positive[:, :, None] > negative[:, None, :]).mean() == pytest.approx(true_auroc, abs=0.01)
    assert (positive.min(axis=1) > negative.max(axis=1)).mean() <= 0.025


def test_one_patient_gives_no_interval():
    found = measure([0, 1, 1, 0], [0.2, 0.8, 0.4, 0.6], ["a"] * 4, threshold=0.5, seed=0)
    assert all(one.low is None and one.high is None for one in found.values())
    assert found["auroc"].value == 0.75


def test_one_positive_patient_gives_no_interval_for_what_rests_on_positives():
    labels, scores = [1, 1, 0, 0, 0, 0], [0.8, 0.4, 0.6, 0.1, 0.2, 0.3]
    found = measure(labels, scores, ["a", "a", "b", "c", "d", "e"], threshold=0.5, seed=0)
    assert [name for name, one in found.items() if one.low is None] == [
        "auroc",
        "average_precision",
        "sensitivity",
    ]


def test_one_class_leaves_the_ranking_undefined_and_the_rest_measured():
    found = measure([0, 0, 0], [0.1, 0.2, 0.7], ["a", "b", "c"], threshold=0.5, seed=0)
    assert [name for name, one in found.items() if math.isnan(one.value)] == [
        "auroc",
        "average_precision",
        "sensitivity",
    ]
    assert found["sensitivity"].n == 0
    assert found["specificity"].value == pytest.approx(2 / 3)


def test_fewer_than_half_usable_resamples_give_no_interval():
    labels, patients = np.array([1, 1, 0, 0]), np.arange(4)
    drawn = np.r_[np.full(120, np.nan), np.linspace(0, 1, 80)]
    assert resampling.interval("auroc", 0.5, drawn=drawn, labels=labels, patients=patients) == (None, None)
    low, high = resampling.interval("auroc", 0.5, drawn=drawn[40:], labels=labels, patients=patients)
    assert (low, high) == (pytest.approx(0.025), pytest.approx(0.975))


def test_intervals_cover_the_truth_when_images_of_a_patient_resemble_each_other():
    random = np.random.default_rng(7)
    labels, scores, _ = patients_with_several_images(random, patients=100_000, images=4, shift=1.0)
    truth = {
        name: float(getattr(metrics, name)(labels, scores, np.ones((1, labels.size)))[0])
        for name in ("auroc", "brier")
    }
    covered = {kind: dict.fromkeys(truth, 0) for kind in ("patients", "images")}
    rounds = 100
    for seed in range(rounds):
        labels, scores, groups = patients_with_several_images(random, patients=40, images=4, shift=1.0)
        for kind, clusters in (("patients", groups), ("images", np.arange(labels.size))):
            found = measure(labels, scores, clusters, threshold=0.5, seed=seed, resamples=300)
            for name, value in truth.items():
                covered[kind][name] += found[name].low <= value <= found[name].high
    for name in truth:
        assert (
            covered["patients"][name] >= 0.87 * rounds
        )  # 95 % less the known shortfall at 40 patients and chance
        assert covered["images"][name] <= 0.80 * rounds  # what it would be if images counted as patients


def test_resampling_patients_gives_a_wider_interval_than_resampling_images():
    labels, scores, groups = patients_with_several_images(
        np.random.default_rng(0), patients=50, images=6, shift=0.8
    )
    wide = measure(labels, scores, groups, threshold=0.5, seed=0)
    narrow = measure(labels, scores, np.arange(labels.size), threshold=0.5, seed=0)
    for name in ("auroc", "accuracy", "sensitivity", "specificity", "brier"):
        assert wide[name].high - wide[name].low > 1.5 * (narrow[name].high - narrow[name].low)


def test_an_estimate_survives_json_with_and_without_a_value():
    for one in (Estimate(0.5, 0.25, 0.75, 8), Estimate(1.0, None, None, 1)):
        assert Estimate.from_json(json.loads(json.dumps(one.to_json(), allow_nan=False))) == one
    undefined = Estimate.from_json(
        json.loads(json.dumps(Estimate(math.nan, None, None, 0).to_json(), allow_nan=False))
    )
    assert math.isnan(undefined.value)
    assert undefined.n == 0


GOOD = {"labels": [0, 1], "scores": [0.2, 0.8], "groups": ["a", "b"], "threshold": 0.5, "resamples": 100}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 1, 1]}, r"Expected one score for each label, received 3 labels and 2 scores"),
        ({"labels": [], "scores": [], "groups": []}, r"Expected at least one image, received 0\."),
        ({"labels": [0, 2]}, r"Expected labels 0 or 1, received 1 of 2 with another value"),
        ({"labels": [0, math.nan]}, r"Expected labels 0 or 1, received 1 of 2 with another value"),
        ({"labels": ["0", "1"]}, r"Expected numbers in labels, received dtype <U1"),
        (
            {"scores": [[0.2], [0.8]]},
            r"Expected scores of shape \(n,\), received \(2, 1\).*pass `scores\[:, 0\]`",
        ),
        ({"scores": [0.2, math.nan]}, r"Expected finite scores, received 1 of 2 that are NaN or infinite"),
        (
            {"scores": [-math.inf, math.inf]},
            r"Expected finite scores, received 2 of 2 that are NaN or infinite",
        ),
        ({"scores": [-1.5, 3.0]}, r"Expected scores in 0\.\.1, received -1\.5\.\.3\. Apply the sigmoid"),
        ({"groups": ["a"]}, r"Expected one patient for each of 2 images, received groups of shape \(1,\)"),
        ({"groups": ["a", None]}, r"Expected a patient id .* received 1 of 2 that are missing"),
        ({"groups": ["", " "]}, r"Expected a patient id .* received 2 of 2 that are missing"),
        (
            {"groups": [1.5, math.nan]},
            r"Expected a patient id .* received 2 of 2 that are missing or of another type",
        ),
        (
            {"threshold": 1.5},
            r"Expected a threshold in 0\.\.1, received 1\.5\. Take it from choose_operating_point",
        ),
        ({"threshold": math.nan}, r"Expected a threshold in 0\.\.1, received nan"),
        ({"resamples": 99}, r"Expected at least 100 resamples, received 99"),
    ],
)
def test_bad_input_is_refused_with_expected_and_received(change, message):
    given = GOOD | change
    with pytest.raises(ValueError, match=message):
        measure(
            given["labels"], given["scores"], given["groups"], threshold=given["threshold"], seed=0, resamples=given["resamples"]
        )  # fmt: skip


def test_bad_weights_bins_and_classes_are_refused_with_expected_and_received():
    with pytest.raises(
        ValueError, match=r"Expected weights of shape \(b, 2\), received \(2,\)\. .*np\.ones\(\(1, n\)\)"
    ):
        metrics.auroc([0, 1], [0.1, 0.9], [1, 1])
    with pytest.raises(ValueError, match=r"Expected weights >= 0, received -1\."):
        metrics.brier([0, 1], [0.1, 0.9], [[1, -1]])
    with pytest.raises(ValueError, match=r"Expected weights >= 0, received nan\."):
        metrics.brier([0, 1], [0.1, 0.9], [[1, math.nan]])
    with pytest.raises(ValueError, match=r"Expected at least 1 bin, received 0\."):
        reliability([0, 1], [0.1, 0.9], bins=0)
    with pytest.raises(
        ValueError, match=r"Expected positive and negative labels for a ROC curve, received 2 positive of 2"
    ):
        roc_curve([1, 1], [0.1, 0.9])
    with pytest.raises(
        ValueError, match=r"Expected at least one positive label for a precision-recall curve, received 0"
    ):
        precision_recall_curve([0, 0], [0.1, 0.9])


def test_memory_does_not_grow_with_the_number_of_resamples():
    sizes = [chunk.size for chunk in patient_resamples(np.arange(100_000), seed=0, resamples=100)]
    assert max(sizes) <= resampling.LEAST_ROWS * 100_000
    sizes = [chunk.size for chunk in patient_resamples(np.arange(1000), seed=0, resamples=2000)]
    assert max(sizes) <= resampling.CHUNK


def test_the_module_imports_nothing_heavy():
    code = "import sys, tasks.core.figures; print([m for m in ('matplotlib', 'pandas', 'sklearn', 'tensorflow', 'mlflow', 'prefect') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_curves_rise_and_thresholds_fall():
    labels, scores, _ = simulated(60, decimals=1)
    curve = roc_curve(labels, scores)
    assert all(a <= b for a, b in pairwise(curve.sensitivity))
    assert all(a > b for a, b in pairwise(curve.thresholds))
    assert (curve.false_positive_rate[0], curve.sensitivity[-1]) == (0, 1)
