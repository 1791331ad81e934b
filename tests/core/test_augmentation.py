"""Augmentation: what is done to an image follows from (seed, image, number), and stays within the profile's table."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tasks.core.augmentation import augment, draw
from tasks.core.catalog import load_catalog
from tasks.core.profile import Augmentation

SHIPPED = load_catalog().profile("intensive").augmentation
IMAGES = [hashlib.sha256(bytes([n])).hexdigest() for n in range(200)]
SIDES = st.integers(2, 41)  # odd and even ones
TABLES = st.builds(
    Augmentation,
    rotation_degrees=st.floats(0, 30),
    zoom=st.floats(0, 0.2),
    shift=st.floats(0, 0.1),
    shear=st.floats(0, 0.1),
    horizontal_flip=st.booleans(),
)


def noise(side: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)


def moved(pixels: np.ndarray, table: Augmentation, n: int) -> np.ndarray:
    return augment(pixels, table, seed=0, image=IMAGES[n], number=1)


def measure(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre (x, y) of what is bright, about the middle of the image, and its covariance (2, 2), in px."""
    mass = pixels / pixels.sum()
    y, x = np.indices(pixels.shape) - (len(pixels) - 1) / 2
    centre = np.array([(mass * x).sum(), (mass * y).sum()])
    away = np.stack([x - centre[0], y - centre[1]])
    return centre, np.einsum("aij,bij,ij->ab", away, away, mass)


# ---- stateless


@given(SIDES)
def test_an_empty_table_gives_the_image_back(side):
    pixels = noise(side)
    np.testing.assert_array_equal(augment(pixels, Augmentation(), seed=3, image=IMAGES[0], number=2), pixels)


def test_the_same_seed_image_and_number_give_the_same_bytes_and_another_of_them_others():
    pixels = noise()
    first = augment(pixels, SHIPPED, seed=0, image=IMAGES[0], number=1)
    again = augment(pixels.copy(), SHIPPED, seed=0, image=IMAGES[0], number=1)
    assert first.tobytes() == again.tobytes()
    last_digit = IMAGES[0][:31] + ("0" if IMAGES[0][31] != "0" else "1") + IMAGES[0][32:]
    others = [(1, IMAGES[0], 1), (0, IMAGES[1], 1), (0, IMAGES[0], 2), (0, last_digit, 1)]
    made = [augment(pixels, SHIPPED, seed=s, image=i, number=n).tobytes() for s, i, n in others]
    assert len({first.tobytes(), *made}) == 5


def test_it_does_not_matter_in_which_order_variants_are_drawn():
    pixels = noise()
    wanted = [(image, number) for image in IMAGES[:5] for number in (1, 2, 3)]

    def made(order):
        return {
            (image, number): augment(pixels, SHIPPED, seed=0, image=image, number=number).tobytes()
            for image, number in order
        }

    assert made(wanted) == made(reversed(wanted))


def test_what_is_drawn_is_pinned_for_cached_variants_rest_on_it():
    """Where this changes, METHOD changes: variants in caches are no longer those that would be drawn."""
    expected = [[-0.985226, -0.215522, 0.091303], [-0.274886, 1.001789, -0.088277]]
    np.testing.assert_allclose(draw(SHIPPED, seed=0, image="0" * 64, number=1), expected, atol=1e-6)


def test_the_image_itself_is_left_as_it_is():
    pixels = noise()
    before = pixels.copy()
    moved(pixels, SHIPPED, 0)
    np.testing.assert_array_equal(pixels, before)


# ---- within the table


def test_nothing_is_turned_upside_down():
    pixels = np.zeros((96, 96), np.uint8)
    pixels[20:28, 44:52] = 255
    heights = [measure(moved(pixels, SHIPPED, n))[0][1] for n in range(200)]
    assert max(heights) < 0
    assert np.ptp(heights) > 10  # they are moved about


@given(SIDES, st.integers(0, 199))
def test_a_flip_alone_mirrors_every_column_exactly_or_leaves_all_as_they_are(side, n):
    pixels = noise(side)
    found = moved(pixels, Augmentation(horizontal_flip=True), n)
    assert np.array_equal(found, pixels) or np.array_equal(found, pixels[:, ::-1])


def test_about_half_of_the_images_are_flipped_where_it_is_allowed_and_none_where_it_is_not():
    pixels = noise(16)
    flipped = [
        not np.array_equal(moved(pixels, Augmentation(horizontal_flip=True), n), pixels) for n in range(200)
    ]
    assert 75 <= sum(flipped) <= 125  # 3.5 deviations of 200 even chances
    turned = [
        np.linalg.det(draw(SHIPPED.without_flips(), seed=0, image=i, number=1)[:, :2]) < 0 for i in IMAGES
    ]
    assert not any(turned)


def test_without_flips_everything_else_stays():
    for image in IMAGES[:20]:
        kept = draw(SHIPPED.without_flips(), seed=0, image=image, number=1)
        both = draw(SHIPPED, seed=0, image=image, number=1)
        np.testing.assert_array_equal(np.abs(both), np.abs(kept))


def test_a_line_is_turned_both_ways_and_no_further_than_the_degrees():
    pixels = np.zeros((97, 97), np.uint8)
    pixels[20:77, 47:50] = 255
    angles = []
    for n in range(200):
        (xx, xy), (_, yy) = measure(moved(pixels, Augmentation(rotation_degrees=20), n))[1]
        angles.append(np.rad2deg(np.arctan2(2 * xy, yy - xx) / 2))
    assert max(np.abs(angles)) < 20.2
    assert max(angles) > 18
    assert min(angles) < -18


def test_zoom_keeps_a_square_a_square_and_stays_in_its_range():
    pixels = np.zeros((97, 97), np.uint8)
    pixels[32:65, 32:65] = 255
    before = measure(pixels)[1]
    sizes = []
    for n in range(200):
        wide, high = np.sqrt(np.diag(measure(moved(pixels, Augmentation(zoom=0.2), n))[1] / np.diag(before)))
        assert wide == pytest.approx(high, rel=1e-6)
        sizes.append(wide)
    assert 1 / 1.2 * 0.99 < min(sizes) < 0.86
    assert 1.2 < max(sizes) < 1 / 0.8 * 1.01


def test_a_shift_stays_within_its_share_of_the_side_any_way():
    pixels = np.zeros((100, 100), np.uint8)
    pixels[45:55, 45:55] = 255
    centres = np.array([measure(moved(pixels, Augmentation(shift=0.1), n))[0] for n in range(200)])
    assert np.abs(centres).max() < 10.1
    assert (centres.max(axis=0) > 9).all()
    assert (centres.min(axis=0) < -9).all()


def test_shear_slants_an_upright_line_no_further_than_its_angle_and_leaves_a_level_one_level():
    pixels = np.zeros((97, 97), np.uint8)
    pixels[20:77, 47:50] = 255
    upright = [measure(moved(pixels, Augmentation(shear=0.1), n))[1] for n in range(200)]
    slants = [np.arctan(covariance[0, 1] / covariance[1, 1]) for covariance in upright]
    assert 0.09 < max(np.abs(slants)) < 0.102
    level = [measure(moved(pixels.T.copy(), Augmentation(shear=0.1), n))[1] for n in range(20)]
    assert max(abs(covariance[0, 1] / covariance[0, 0]) for covariance in level) < 1e-3


def test_what_comes_in_from_outside_repeats_the_edge():
    for n in range(50):
        assert (moved(np.full((40, 40), 200, np.uint8), SHIPPED, n) == 200).all()
    table, columns = Augmentation(shift=0.3), np.tile(np.array([10] + [100] * 38 + [250], np.uint8), (40, 1))
    for n, image in enumerate(IMAGES[:50]):
        right = 40 * draw(table, seed=0, image=image, number=1)[0, 2]
        from_outside = int(abs(right))
        found = moved(columns, table, n)
        assert (
            (found[:, :from_outside] == 10).all()
            if right < 0
            else (found[:, 40 - from_outside :] == 250).all()
        )


def test_beyond_half_a_side_it_is_black():
    pixels = np.full((40, 40), 200, np.uint8)
    darkest = [moved(pixels, Augmentation(shift=0.9), n).min() for n in range(20)]
    assert min(darkest) == 0


# ---- against a reference


@given(TABLES, SIDES, st.integers(0, 199))
def test_it_is_the_affine_map_that_scipy_computes(table, side, n):
    pixels = ndimage.gaussian_filter(noise(side).astype(float), 1.0).round().astype(np.uint8)
    (a, b, right), (d, e, down) = draw(table, seed=0, image=IMAGES[n], number=1)
    middle = (side - 1) / 2
    matrix = np.array([[e, d], [b, a]])  # rows first
    offset = middle + side * np.array([down, right]) - matrix @ [middle, middle]
    expected = ndimage.affine_transform(
        pixels.astype(float), matrix, offset, order=1, mode="nearest", output=float
    )
    found = moved(pixels, table, n)
    assert (found.dtype, found.shape) == (np.uint8, (side, side))
    np.testing.assert_allclose(found, expected, atol=1.01)
