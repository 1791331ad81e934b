"""The perceptual hash: near for copies, far for others, and turning with the image."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from data_checks.copies.perceptual_hash import HASH_BYTES, perceptual_hash, variants

TURNS = (
    lambda a: a,
    lambda a: a[:, ::-1],
    lambda a: a[::-1],
    lambda a: a[::-1, ::-1],
    lambda a: a.T,
    lambda a: np.rot90(a),
    lambda a: np.rot90(a, -1),
    lambda a: a[::-1, ::-1].T,
)


def picture(seed: int, height: int = 200, width: int = 160) -> np.ndarray:
    """A cloudy gray picture between 40 and 210, like nothing else with another seed: (height, width) uint8."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    cloud = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(6)), dtype=float)
    return np.rint(40 + 170 * (cloud - cloud.min()) / np.ptp(cloud)).astype(np.uint8)


def bits(gray: np.ndarray) -> np.ndarray:
    return np.frombuffer(perceptual_hash(gray), np.uint8)


def distance(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.bitwise_count(one ^ other).sum())


def test_the_hash_is_32_bytes_and_always_the_same():
    assert perceptual_hash(picture(1)) == perceptual_hash(picture(1).copy())
    assert len(perceptual_hash(picture(1))) == HASH_BYTES == 32


def jpeg(gray: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(gray).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


COPIES = {
    "JPEG at quality 50": lambda a: jpeg(a, 50),
    "half size": lambda a: np.asarray(Image.fromarray(a).resize((80, 100))),
    "double size": lambda a: np.asarray(Image.fromarray(a).resize((320, 400))),
    "more contrast": lambda a: np.clip((a.astype(float) - 128) * 1.15 + 128, 0, 255).astype(np.uint8),
    "less contrast": lambda a: (a * 0.85).astype(np.uint8),
    "brighter": lambda a: a + np.uint8(38),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_differs_in_few_bits(copy):
    for seed in range(20):
        assert distance(bits(picture(seed)), bits(COPIES[copy](picture(seed)))) <= 24


def test_different_pictures_differ_in_about_half_of_the_bits():
    hashes = [bits(picture(seed)) for seed in range(30)]
    distances = [distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) > 80
    assert 120 < np.mean(distances) < 136


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2), (63, 65), (500, 64)])
def test_any_shape_has_a_hash(shape):
    gray = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert len(perceptual_hash(gray)) == 32


@pytest.mark.parametrize("level", [0, 1, 77, 254, 255])
def test_blank_images_have_the_hash_of_zeros_whatever_their_level(level):
    assert perceptual_hash(np.full((50, 70), level, np.uint8)) == bytes(32)


def test_a_blank_image_is_far_from_any_picture():
    for seed in range(30):
        assert 90 < distance(np.zeros(32, np.uint8), bits(picture(seed))) < 166


def test_an_almost_blank_image_is_not_taken_for_blank():
    gray = np.full((64, 64), 100, np.uint8)
    gray[20, 31] = 101
    assert perceptual_hash(gray) != bytes(32)


@pytest.mark.parametrize("index", range(8))
def test_a_variant_is_the_hash_of_the_turned_image_up_to_few_bits(index):
    for seed in range(20):
        expected = bits(np.ascontiguousarray(TURNS[index](picture(seed))))
        assert distance(variants(bits(picture(seed))[None])[index, 0], expected) <= 4


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_turning_there_and_back_gives_the_hash_itself(data):
    hashes = np.frombuffer(data, np.uint8)[None]
    turned = variants(hashes)
    for index, back in enumerate((0, 1, 2, 3, 4, 6, 5, 7)):
        np.testing.assert_array_equal(variants(turned[index])[back], hashes)


def test_eight_turns_of_a_picture_have_eight_hashes():
    assert len({v.tobytes() for v in variants(bits(picture(3))[None])}) == 8


def test_a_blank_hash_stays_blank_however_turned():
    assert not variants(np.zeros((1, 32), np.uint8)).any()


def test_no_hashes_have_no_variants():
    assert variants(np.empty((0, 32), np.uint8)).shape == (8, 0, 32)


@pytest.mark.parametrize(
    "gray", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_other_than_gray_bytes_are_refused(gray):
    with pytest.raises(ValueError, match=r"expects a non-empty \(height, width\) uint8 array\. Received: "):
        perceptual_hash(gray)


@pytest.mark.parametrize(
    "hashes", [np.zeros(32, np.uint8), np.zeros((2, 31), np.uint8), np.zeros((2, 32), np.int64)]
)
def test_other_than_hashes_have_no_variants(hashes):
    with pytest.raises(ValueError, match=r"expects hashes of \(n, 32\) uint8\. Received: "):
        variants(hashes)
