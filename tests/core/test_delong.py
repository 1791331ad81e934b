"""The covariance of AUROCs against published figures, brute force, leaving out patients and the metrics."""

import itertools

import numpy as np
import pytest

from tasks.core.delong import delong_covariance
from tasks.core.metrics import auroc
from tasks.core.paired import compare_aurocs
from tests.core.paired_data import NDKA, S100B, WFNS, arteries, bleedings, rows


# Figures that pROC (Robin et al. 2011, BMC Bioinformatics 12:77) holds its own tests to, on the same patients:
# tests/testthat/test-roc.test.R, test-var.R and test-cov.R of github.com/xrobin/pROC.
@pytest.mark.parametrize(
    ("first", "second", "p_value", "low", "high"),
    [
        (WFNS, S100B, 0.0271757822291882, 0.0104061769564846, 0.174214419249478),
        (WFNS, NDKA, 0.00514557970691098, 0.0634011709339876, 0.3600405634833566),
        (NDKA, S100B, 0.164295175223054, -0.2876917446341914, 0.0488706064228094),
    ],
)
def test_the_difference_equals_the_published_figures_of_proc(first, second, p_value, low, high):
    labels, scores = bleedings()
    found = compare_aurocs(labels, np.arange(113), scores[first], scores[second])
    assert found.p_value == pytest.approx(p_value, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-10)
    assert found.n == found.patients == 113


def test_the_covariance_equals_the_published_figures_of_proc():
    labels, scores = bleedings()
    aurocs, covariance = delong_covariance(labels, np.arange(113), scores)
    assert aurocs[[WFNS, NDKA]] == pytest.approx([0.823678861788618, 0.611957994579946], rel=1e-12)
    assert np.diag(covariance) == pytest.approx(
        [0.00146991470882363, 0.00266868245717244, 0.0031908105493913], rel=1e-10
    )
    pairs = covariance[WFNS, NDKA], covariance[NDKA, S100B], covariance[S100B, WFNS]
    assert pairs == pytest.approx(
        (-0.000532967856762438, -0.000756164938056579, 0.00119615567376754), rel=1e-10
    )


def test_the_clustered_difference_equals_the_published_figures():
    """As printed for these arteries in the guide to Obuchowski's own program (Cleveland Clinic, clusteredROC_help)."""
    labels, patients, scores = arteries()
    found = compare_aurocs(labels, patients, scores[1], scores[0])
    assert (found.n, found.patients) == (65, 36)
    assert (found.first[0], found.second[0]) == pytest.approx((0.9852, 0.9837), abs=5e-5)
    assert found.difference == pytest.approx(0.0014, abs=5e-5)
    assert np.sqrt(found.row_variance) == pytest.approx(0.0066, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((-0.0115, 0.0143), abs=5e-5)
    assert found.p_value == pytest.approx(0.8271, abs=5e-5)
    # The parts that are printed there: 29 and 36 images; S10, S01 and S11 of each reader and of both.
    expected = [0.0013151307 / 29 + 0.0022375873 / 36 + 2 * 0.0051785478 / (29 * 36)]
    expected += [0.0009284122 / 29 + 0.0022598583 / 36 - 2 * 0.0005015760 / (29 * 36)]
    expected += [0.0008484357 / 29 + 0.0019241250 / 36 + (0.0028648340 - 0.0015136931) / (29 * 36)]
    covariance = delong_covariance(labels, patients, scores)[1]
    assert [covariance[0, 0], covariance[1, 1], covariance[0, 1]] == pytest.approx(expected, rel=1e-7)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.0108, 0.0097], abs=5e-5)


def brute_force(labels, patients, scores):
    """Obuchowski (1997), sections 2 and 3, written out pair by pair and patient by patient."""
    ids = list(dict.fromkeys(patients.tolist()))
    positive = [np.flatnonzero((patients == one) & (labels == 1)) for one in ids]
    negative = [np.flatnonzero((patients == one) & (labels == 0)) for one in ids]
    m, n = sum(map(len, positive)), sum(map(len, negative))
    right = [
        np.array(
            [
                [(s[x] > s[y]) + (s[x] == s[y]) / 2 for y in np.flatnonzero(labels == 0)]
                for x in range(labels.size)
            ]
        )
        for s in scores
    ]
    column = {row: place for place, row in enumerate(np.flatnonzero(labels == 0))}
    area = [r[labels == 1].mean() for r in right]
    x_part = [
        [sum(r[x].mean() for x in xs) - len(xs) * a for xs in positive]
        for r, a in zip(right, area, strict=True)
    ]
    y_part = [
        [sum(r[labels == 1, column[y]].mean() for y in ys) - len(ys) * a for ys in negative]
        for r, a in zip(right, area, strict=True)
    ]
    with_x, with_y, all_of = sum(map(bool, map(len, positive))), sum(map(bool, map(len, negative))), len(ids)
    covariance = np.empty((len(scores), len(scores)))
    for r, s in itertools.product(range(len(scores)), repeat=2):
        s10 = with_x / ((with_x - 1) * m) * np.dot(x_part[r], x_part[s])
        s01 = with_y / ((with_y - 1) * n) * np.dot(y_part[r], y_part[s])
        s11 = all_of / (all_of - 1) * (np.dot(x_part[r], y_part[s]) + np.dot(y_part[r], x_part[s]))
        covariance[r, s] = s10 / m + s01 / n + s11 / (m * n)
    return np.array(area), covariance


@pytest.mark.parametrize("patients", [4, 12, 60])
@pytest.mark.parametrize("own_label", [True, False])
def test_the_covariance_equals_brute_force_over_pairs_and_patients(patients, own_label):
    labels, groups, scores = rows(60, patients=patients, models=3, own_label=own_label)
    area, expected = brute_force(labels, groups, scores)
    aurocs, covariance = delong_covariance(labels, groups, scores)
    np.testing.assert_allclose(aurocs, area, atol=1e-14)
    np.testing.assert_allclose(covariance, expected, rtol=1e-10)
    assert np.linalg.eigvalsh(covariance).min() > -1e-15


def test_the_auroc_is_that_of_the_metrics():
    labels, groups, scores = rows(300, patients=80)
    found = compare_aurocs(labels, groups, scores[0], scores[1])
    expected = [auroc(labels, one, np.ones((1, 300)))[0] for one in scores]
    assert [*found.first, *found.second] == pytest.approx(expected, abs=1e-14)


def test_the_variance_is_near_that_of_leaving_out_one_patient_at_a_time():
    labels, groups, scores = rows(400, patients=120)
    found = compare_aurocs(labels, groups, scores[0], scores[1])
    left = [
        compare_aurocs(labels[k], groups[k], *scores[:, k]).difference
        for k in (groups != g for g in np.unique(groups))
    ]
    assert found.row_variance == pytest.approx(np.var(left) * (len(left) - 1), rel=0.1)


def test_images_that_only_repeat_a_patient_add_no_certainty():
    labels, groups, scores = rows(80, patients=80)
    groups = np.arange(80)
    once = compare_aurocs(labels, groups, *scores)
    again = [np.repeat(one, 3, axis=-1) for one in (labels, groups, *scores)]
    assert compare_aurocs(*again).p_value == pytest.approx(once.p_value)
    as_if_others = compare_aurocs(again[0], np.arange(240), *again[2:])
    assert as_if_others.row_variance == pytest.approx(once.row_variance / 3, rel=0.05)
