"""Which mistakes are shown first, and the small pictures of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tasks.core.mistakes import (
    SHOWN,
    THUMBNAIL_SIDE,
    confident_mistakes,
    heat_picture,
    margins,
    thumbnail,
)

LABELS = np.array([0, 0, 0, 1, 1, 1])


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def test_confidence_is_the_share_of_the_room_on_the_wrong_side_of_the_threshold():
    scores = np.array([0.1, 0.2, 0.9, 0.05, 0.2, 1.0])
    np.testing.assert_allclose(margins(LABELS, scores, 0.2), [-1, 0, 0.875, 0.75, -1, -1])


def test_a_threshold_at_the_end_of_the_scale_leaves_no_room():
    np.testing.assert_array_equal(margins([0, 0], np.array([1.0, 0.5]), 1.0), [0, -1])
    np.testing.assert_array_equal(margins([0, 1], np.array([0.0, 0.0]), 0.0), [0, -1])


def test_the_mistakes_of_each_profile_come_in_turn_the_most_confident_first():
    first = [0.6, 0.9, 0.1, 0.4, 0.9, 0.9]  # wrong: 1, then 0, then 3
    second = [0.1, 0.1, 0.99, 0.9, 0.0, 0.9]  # wrong: 4, then 2
    assert confident_mistakes(LABELS, [first, second], (0.5, 0.5)) == [1, 4, 0, 2]
    assert confident_mistakes(LABELS, [first, second], (0.5, 0.5), shown=9) == [1, 4, 0, 2, 3]
    assert SHOWN == 4


def test_an_image_that_both_got_wrong_is_shown_once():
    wrong = [0.9, 0.1, 0.1, 0.9, 0.9, 0.1]
    assert confident_mistakes(LABELS, [wrong, wrong], (0.5, 0.5)) == [0, 5]


def test_profiles_without_a_mistake_have_none_to_show():
    assert confident_mistakes(LABELS, [LABELS, LABELS], (0.5, 0.5)) == []


def test_each_profile_is_judged_at_its_own_threshold():
    scores = np.array([0.3, 0.1, 0.1, 0.6, 0.6, 0.6])
    assert confident_mistakes(LABELS, [scores, scores], (0.5, 0.25)) == [0]
    assert confident_mistakes(LABELS, [scores, scores], (0.5, 0.5)) == []


def test_scores_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="scores"):
        confident_mistakes(LABELS, [[0.1], [0.2]], (0.5, 0.5))


def test_a_thumbnail_is_a_small_gray_square():
    picture = opened(thumbnail(np.full((300, 300), 70, np.uint8)))
    assert (picture.size, picture.mode) == ((THUMBNAIL_SIDE, THUMBNAIL_SIDE), "L")
    assert set(np.unique(np.asarray(picture))) == {70}


def test_heat_tints_its_place_and_leaves_the_rest_gray():
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    data = heat_picture(np.full((64, 64), 90, np.uint8), heat)
    colours = np.asarray(opened(data).convert("RGB")).astype(int)
    assert colours.shape == (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
    red, _, blue = colours[4, 4]
    assert red - blue > 100
    np.testing.assert_allclose(colours[-1, -1], 90, atol=3)
    assert len(data) < 20_000


def test_a_map_without_heat_leaves_the_image_gray():
    colours = np.asarray(
        opened(heat_picture(np.full((64, 64), 90, np.uint8), np.zeros((2, 2)))).convert("RGB")
    )
    assert np.ptp(colours) == 0
