"""Polarity: negatives among their like are found, and nothing is said where nothing is typical."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_checks.images.image_facts import MAX_PIXELS, measure
from data_checks.images.polarity import FEWEST, polarity
from tasks.core.phantoms import draw

#: Below it an image is called a negative, as in limits.toml.
LIMIT = -0.5


def told(gray):
    """What the facts say of an image: thumbnail and border."""
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "PNG")
    facts, _ = measure(file.getvalue(), max_pixels=MAX_PIXELS)
    assert facts.thumbnail is not None
    assert facts.border is not None
    return facts.thumbnail, facts.border


def both(grays):
    thumbnails, borders = zip(*map(told, grays), strict=True)
    return tuple(
        np.frombuffer(b"".join(part), np.uint8).reshape(len(grays), -1) for part in (thumbnails, borders)
    )


@pytest.fixture(scope="module", params=["cardiomegaly", "arthritis", "bone_fracture"])
def films(request):
    return [draw(request.param, patient=patient, view=0, side=96).pixels for patient in range(60)]


@pytest.mark.parametrize("count", [1, 3, 12])
def test_negatives_among_drawn_radiographs_are_found_and_no_other(films, count):
    found = polarity(*both([255 - film if at < count else film for at, film in enumerate(films)]))
    assert (found[:count] < LIMIT).all()
    assert (found[count:] > 0).all()


def test_a_negative_has_the_negative_of_the_number(films):
    thumbnails, border = both(films)
    upright = polarity(thumbnails, border)
    flipped = np.arange(len(films)) == 7
    found = polarity(
        np.where(flipped[:, None], 255 - thumbnails, thumbnails),
        np.where(flipped[:, None], 255 - border, border),
    )
    assert found[7] == pytest.approx(-upright[7], abs=0.05)


def test_the_majority_says_what_is_upright(films):
    found = polarity(*both([film if at < 20 else 255 - film for at, film in enumerate(films)]))
    assert (found[:20] < LIMIT).mean() >= 0.95
    assert (found[20:] > 0).all()


def test_brighter_and_paler_images_stay_what_they_are(films):
    changed = [
        np.clip(film * (0.3 if at % 2 else 1.0) + (150 if at % 3 else 0), 0, 255).astype(np.uint8)
        for at, film in enumerate(films)
    ]
    assert (polarity(*both(changed)) > 0).all()


def test_blank_images_have_no_polarity_and_sway_none(films):
    blank = [np.full((96, 96), level, np.uint8) for level in (0, 128, 255)]
    found = polarity(*both([*films, *blank]))
    assert np.isnan(found[-3:]).all()
    np.testing.assert_allclose(found[:-3], polarity(*both(films)))


@settings(deadline=None, max_examples=50)  # a busy machine
@given(st.integers(0, 10**6), st.integers(FEWEST, 200))
def test_images_that_have_nothing_in_common_have_no_polarity(seed, n):
    random = np.random.default_rng(seed)
    thumbnails = random.integers(0, 256, (n, 64), dtype=np.uint8)
    found = polarity(thumbnails, random.integers(0, 256, (n, 8), dtype=np.uint8))
    assert found.shape == (n,)
    assert np.isnan(found).all()


def test_a_set_of_two_kinds_in_equal_parts_calls_neither_negative():
    random = np.random.default_rng(0)
    kinds = random.integers(60, 200, (2, 96, 96), dtype=np.uint8)
    kinds[0, :48], kinds[1, :, :48] = 20, 20
    found = polarity(*both([kinds[at % 2] // (1 + at % 3) for at in range(40)]))
    assert not (found < LIMIT).any()


def test_too_few_images_have_no_typical_one(films):
    thumbnails, border = both(films)
    assert np.isnan(polarity(thumbnails[: FEWEST - 1], border[: FEWEST - 1])).all()
    assert not np.isnan(polarity(thumbnails[:FEWEST], border[:FEWEST])).any()
    assert polarity(thumbnails[:0], border[:0]).shape == (0,)


def test_other_shapes_are_refused_with_what_was_expected_and_received():
    thumbnails, border = np.zeros((5, 64), np.uint8), np.zeros((5, 8), np.uint8)
    with pytest.raises(ValueError, match=r"Expected border of \(5, 8\) uint8\. Received: \(4, 8\) uint8"):
        polarity(thumbnails, border[:4])
    with pytest.raises(
        ValueError, match=r"Expected thumbnails of \(5, 64\) uint8\. Received: \(5, 64\) float64"
    ):
        polarity(thumbnails.astype(float), border)


def facts_of(folder):
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            facts, _ = measure(path.read_bytes(), max_pixels=MAX_PIXELS)
            if facts.unreadable is None:
                found.append((facts.thumbnail, facts.border))
    return tuple(
        np.frombuffer(b"".join(part), np.uint8).reshape(len(found), -1) for part in zip(*found, strict=True)
    )


@pytest.mark.parametrize(
    ("folder", "negatives", "least"),
    [
        ("cardiomegaly_true_false", 0, 0.93),
        ("arthritis_knee_kl", 9, 0.99),
        ("osteoporosis_knee", 0, 0.90),
        ("pneumonia_kermany", 0, 0.98),
    ],
)
def test_real_negatives_are_found_and_of_those_made_most(shared, folder, negatives, least):
    thumbnails, border = facts_of(shared / "radiographs" / folder)
    real = polarity(thumbnails, border) < LIMIT
    assert real.sum() == negatives, "each was looked at"
    part = np.random.default_rng(0).permutation(len(real)) % 20
    hits = false = 0
    for number in range(20):
        made = (part == number)[:, None]
        found = polarity(np.where(made, 255 - thumbnails, thumbnails), np.where(made, 255 - border, border))
        hits += (found[made[:, 0] & ~real] < LIMIT).sum()
        false += (found[~made[:, 0] & ~real] < LIMIT).sum()
    assert false == 0
    assert hits / (~real).sum() > least
