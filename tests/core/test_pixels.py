"""Pixels: the one way to shrink, exact where it can be computed by hand, and tied to the name of the method."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.pixels import METHOD, shrink


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def test_an_image_of_the_wanted_size_is_unchanged():
    gray = noise(16, 16)
    np.testing.assert_array_equal(shrink(gray, 16), gray)


def test_shrinking_by_a_whole_factor_gives_the_mean_of_each_box():
    gray = noise(60, 36)
    boxes = gray.reshape(12, 5, 12, 3).mean(axis=(1, 3))
    assert np.abs(shrink(gray, 12) - boxes).max() <= 1  # Pillow rounds after each direction


def test_the_whole_image_is_stretched_to_the_square():
    gray = np.zeros((10, 40), np.uint8)
    gray[:, 20:] = 255  # the right half stays the right half
    np.testing.assert_array_equal(shrink(gray, 8), np.repeat([[0] * 4 + [255] * 4], 8, axis=0))


def test_fine_stripes_become_gray_and_not_a_pattern():
    gray = np.zeros((64, 64), np.uint8)
    gray[:, ::2] = 255
    assert set(np.unique(shrink(gray, 16))) <= {127, 128}


def test_a_small_image_is_enlarged_by_repeating_its_pixels():
    np.testing.assert_array_equal(
        shrink(np.array([[0, 255]], np.uint8), 4), np.repeat([[0, 0, 255, 255]], 4, axis=0)
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 40), st.integers(0, 9))
def test_any_image_becomes_a_square_within_its_own_range(height, width, side, seed):
    gray = noise(height, width, seed)
    small = shrink(gray, side)
    assert (small.shape, small.dtype) == ((side, side), np.uint8)
    assert gray.min() <= small.min()
    assert small.max() <= gray.max()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 255), st.integers(1, 50), st.integers(1, 50), st.integers(1, 40))
def test_an_even_image_stays_even(level, height, width, side):
    assert (shrink(np.full((height, width), level, np.uint8), side) == level).all()


def test_a_view_and_a_read_only_image_give_the_same_and_stay_as_they_are():
    gray = noise(30, 20)
    before = gray.copy()
    turned = shrink(np.ascontiguousarray(gray[:, ::-1]), 8)
    np.testing.assert_array_equal(shrink(gray[:, ::-1], 8), turned)
    gray.setflags(write=False)
    shrink(gray, 8)
    np.testing.assert_array_equal(gray, before)


@pytest.mark.parametrize(
    ("gray", "received"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"\(4, 4, 3\) uint8"),
        (np.zeros((4, 4), np.float32), r"\(4, 4\) float32"),
        (np.zeros((4, 4), np.uint16), r"\(4, 4\) uint16"),
        (np.zeros(4, np.uint8), r"\(4,\) uint8"),
    ],
)
def test_what_is_not_gray_of_8_bits_is_refused(gray, received):
    with pytest.raises(ValueError, match=rf"Expected gray \(height, width\) uint8\. Received: {received}"):
        shrink(gray, 2)


def test_other_pixels_need_another_name_of_the_method():
    # METHOD is part of every cache key: who changes one of these two must change the other.
    digest = hashlib.sha256(shrink(noise(50, 70), 32).tobytes()).hexdigest()[:16]
    assert (METHOD, digest) == (
        "gray by decoder 2, stretched to a square, Pillow BOX filter",
        "1ca3080735e66748",
    )
