"""Phantoms: determinism, honest labels, and no way to guess the label without looking at the anatomy."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tasks.core.phantoms import DISEASES, LATENT_NAMES, PART, draw

PATIENTS = 300
# Small pictures keep the test short; brightness and border do not depend on the side.
SIDE = 64


@pytest.fixture(scope="module", params=DISEASES)
def drawn(request):
    return [draw(request.param, patient=patient, view=0, side=SIDE) for patient in range(PATIENTS)]


@pytest.mark.parametrize("disease", DISEASES)
def test_the_same_arguments_give_the_same_pixels(disease):
    first, second = draw(disease, patient=7, view=1), draw(disease, patient=7, view=1)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert (first.label, first.latents) == (second.label, second.latents)


@pytest.mark.parametrize("disease", DISEASES)
def test_the_global_random_state_changes_nothing(disease):
    first = draw(disease, patient=7, view=1, side=SIDE)
    np.random.seed(1)
    np.testing.assert_array_equal(first.pixels, draw(disease, patient=7, view=1, side=SIDE).pixels)


@pytest.mark.parametrize("disease", DISEASES)
def test_another_view_shows_the_same_patient_in_other_pixels(disease):
    for patient in range(20):
        first, second = (draw(disease, patient=patient, view=view, side=SIDE) for view in (1, 2))
        assert first.label == second.label
        assert first.latents[0] == second.latents[0]
        assert (first.pixels != second.pixels).mean() > 0.5


@pytest.mark.parametrize("disease", DISEASES)
def test_another_patient_has_other_anatomy(disease):
    assert len({draw(disease, patient=patient, view=0, side=SIDE).latents for patient in range(50)}) == 50


@pytest.mark.parametrize("side", [64, 128, 256, 300])
def test_pixels_are_square_eight_bit_and_use_the_range(side):
    for disease in DISEASES:
        pixels = draw(disease, patient=3, view=0, side=side).pixels
        assert pixels.shape == (side, side)
        assert pixels.dtype == np.uint8
        assert np.percentile(pixels, 98) - np.percentile(pixels, 2) > 80


def test_latents_are_finite_and_have_the_documented_names(drawn):
    latents = np.array([phantom.latents for phantom in drawn])
    assert latents.shape[1] in {len(names) for names in LATENT_NAMES.values()}
    assert np.isfinite(latents).all()
    assert np.abs(latents).max() < 4


@pytest.mark.parametrize("disease", DISEASES)
def test_latents_are_as_many_as_their_names(disease):
    assert len(draw(disease, patient=1, view=1, side=SIDE).latents) == len(LATENT_NAMES[PART[disease]])


def test_both_labels_make_up_40_to_60_percent(drawn):
    assert 0.4 <= np.mean([phantom.label for phantom in drawn]) <= 0.6


def test_the_classes_overlap_in_severity_but_not_much(drawn):
    labels, severity = [phantom.label for phantom in drawn], [phantom.latents[0] for phantom in drawn]
    assert 0.97 < roc_auc_score(labels, severity) < 1.0


@pytest.mark.parametrize("shortcut", ["mean", "border", "corner_maximum"])
def test_no_shortcut_predicts_the_label(drawn, shortcut):
    pixels = np.stack([phantom.pixels for phantom in drawn]).astype(float)
    edge = np.ones((SIDE, SIDE), dtype=bool)
    edge[4:-4, 4:-4] = False
    corner = np.zeros((SIDE, SIDE), dtype=bool)
    corner[:14, :14] = corner[:14, -14:] = corner[-14:, :14] = corner[-14:, -14:] = True
    values = {
        "mean": pixels.mean(axis=(1, 2)),
        "border": pixels[:, edge].mean(axis=1),
        "corner_maximum": pixels[:, corner].max(axis=1),
    }[shortcut]
    found = roc_auc_score([phantom.label for phantom in drawn], values)
    assert max(found, 1 - found) < 0.65


def test_an_unknown_disease_is_named_with_the_nearest_one():
    with pytest.raises(
        ValueError, match=r"Expected one of .*Received: 'pneumona'\. Did you mean 'pneumonia'\?"
    ):
        draw("pneumona", patient=1, view=1)


def test_an_unknown_disease_far_from_all_gets_no_hint():
    with pytest.raises(ValueError, match=r"Received: 'xyz'\.$"):
        draw("xyz", patient=1, view=1)


def test_a_picture_too_small_for_anatomy_is_refused():
    with pytest.raises(ValueError, match=r"Expected side of 32 or more\. Received: 16\."):
        draw("pneumonia", patient=1, view=1, side=16)
