"""The backbone against plain Keras: where it is cut, what is trained, and that two parts give what the whole gives."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from tasks.core import backbone, classifier
from tasks.core.catalog import load_catalog
from tasks.core.errors import CatalogError, WeightsNotFound
from tasks.measure_machine import has_bfloat16
from tests import small_network

FAST = load_catalog().profile("fast")
INTENSIVE = load_catalog().profile("intensive")
needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")


def squares(n: int, side: int) -> np.ndarray:
    """Return (n, side, side) uint8: random gray at a random brightness."""
    random = np.random.default_rng(side)
    return (random.integers(0, 256, (n, side, side)) * random.uniform(0.2, 1, (n, 1, 1))).astype(np.uint8)


def rgb(gray: np.ndarray) -> np.ndarray:
    """Return raw pixels as a model takes them: (n, side, side, 3) float32, 0-255."""
    return np.repeat(gray[..., None], 3, axis=-1).astype(np.float32)


def count(weights: list[keras.Variable]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


@pytest.fixture(scope="module")
def intensive() -> backbone.Backbone:
    """The backbone of the shipped intensive profile, with random weights."""
    return backbone.build("DenseNet121", side=224, alpha=None, weights=None, trainable_layers=30)


@pytest.fixture(scope="module")
def keras_densenet() -> keras.Model:
    """The same network as Keras alone builds it."""
    keras.utils.set_random_seed(backbone.RANDOM_SEED)
    return keras.applications.DenseNet121(input_shape=(224, 224, 3), include_top=False, weights=None)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> backbone.Backbone:
    """A small network whose features vary between images, its last 30 layers trainable."""
    path = small_network.write_weights(tmp_path_factory.mktemp("weights") / "small.npz")
    return backbone.build("MobileNetV2", side=64, alpha=0.35, weights=path, trainable_layers=30)


@pytest.fixture(scope="module")
def in_float32(small) -> Callable[[np.ndarray], np.ndarray]:
    """Its trunk, folded."""
    return backbone.forward(small.trunk, precision="float32", dtype="float32")


# ---- the shipped profiles


def test_the_fast_model_has_the_parameters_of_the_report():
    base = backbone.build("MobileNetV2", side=128, alpha=0.75, weights=None)
    assert (base.tail, base.cut, base.shape) == (None, "pool", (1280,))
    head = classifier.build_head(FAST, channels=1280, prevalence=0.5, seed=0)
    model = classifier.assemble(base, head, name="model")
    assert model.count_params() == 1_464_113
    assert count(model.trainable_variables) == 82_049
    assert model.input_shape == (None, 128, 128, 3)


def test_the_intensive_backbone_is_cut_before_its_last_30_layers(intensive):
    assert intensive.cut == "conv5_block12_concat"
    assert intensive.shape == (7, 7, 896)
    assert intensive.tail.output_shape == (None, 1024)


def test_exactly_the_last_30_layers_are_trained_and_no_batch_norm_of_them(intensive, keras_densenet):
    last = {layer.name for layer in keras_densenet.layers[-30:]}
    norms = {
        layer.name for layer in keras_densenet.layers if isinstance(layer, keras.layers.BatchNormalization)
    }
    assert last & norms
    expected = {
        weight.path
        for layer in keras_densenet.layers
        if layer.name in last - norms
        for weight in layer.weights
    }
    assert {weight.path for weight in intensive.tail.trainable_variables} == expected
    assert intensive.trunk.trainable_variables == []


def test_the_intensive_model_has_the_parameters_of_the_report(intensive):
    head = classifier.build_head(INTENSIVE, channels=1024, prevalence=0.5, seed=0)
    model = classifier.assemble(intensive, head, name="model")
    assert model.count_params() == 7_300_161
    # Four dense blocks of 1x1 to 128 and 3x3 to 32 channels without bias, on 896 to 992 channels, and the head.
    blocks = sum(channels * 128 + 9 * 128 * 32 for channels in range(896, 1024, 32))
    assert count(model.trainable_variables) == blocks + 1024 * 256 + 256 + 256 + 1


def test_trunk_and_tail_give_what_the_uncut_network_gives(intensive, keras_densenet):
    pixels = rgb(squares(2, 224))
    prepared = keras.applications.densenet.preprocess_input(pixels.copy())
    expected = np.asarray(keras_densenet(prepared, training=False)).mean(axis=(1, 2))
    found = np.asarray(intensive.tail(intensive.trunk(pixels, training=False), training=False))
    assert expected.std() > 0.01
    assert np.abs(found - expected).max() < 1e-5


# ---- where other networks are cut


@pytest.mark.parametrize(
    ("name", "alpha", "cut", "shape"),
    [
        ("MobileNetV2", 0.35, "block_13_project", (2, 2, 56)),
        ("EfficientNetB0", None, "block6c_add", (2, 2, 192)),
        ("ResNet50", None, "conv4_block6_out", (4, 4, 1024)),
    ],
)
def test_a_network_is_cut_at_the_last_layer_that_all_goes_through(name, alpha, cut, shape):
    built = backbone.build(name, side=64, alpha=alpha, weights=None, trainable_layers=30)
    assert (built.cut, built.shape) == (cut, shape)


def test_frozen_branches_behind_the_cut_stay_frozen():
    """The last layer of a residual block alone is trained: its block's other layers are behind the cut as well."""
    built = backbone.build("MobileNetV2", side=32, alpha=0.35, weights=None, trainable_layers=14)
    assert built.cut == "block_14_add"
    trained = {weight.path.split("/")[0] for weight in built.tail.trainable_variables}
    behind = {weight.path.split("/")[0] for weight in built.tail.weights}
    assert trained == {
        "block_15_project",
        "block_16_expand",
        "block_16_depthwise",
        "block_16_project",
        "Conv_1",
    }
    assert {"block_15_expand", "block_15_depthwise"} <= behind - trained


def test_all_layers_can_be_trained_and_the_features_are_then_prepared_pixels():
    built = backbone.build("MobileNetV2", side=32, alpha=0.35, weights=None, trainable_layers=154)
    assert (built.cut, built.shape) == ("input_layer-0", (32, 32, 3))
    assert built.trunk.weights == []
    norms = [layer for layer in built.tail.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms
    of_norms = sum(len(layer.weights) for layer in norms)
    assert len(built.tail.trainable_variables) == len(built.tail.weights) - of_norms
    gray = squares(2, 32)
    found = backbone.forward(built.trunk, precision="float32", dtype="float32")(gray)
    np.testing.assert_allclose(found, rgb(gray) / 127.5 - 1, atol=1e-6)


def test_more_layers_than_there_are_are_refused_with_their_number():
    with pytest.raises(CatalogError, match="has fewer layers than are to be trained") as caught:
        backbone.build("MobileNetV2", side=32, alpha=0.35, weights=None, trainable_layers=155)
    assert "at most 154" in str(caught.value)
    assert "--set trainable_layers=154" in caught.value.fix


def test_the_name_of_the_cut_does_not_depend_on_what_was_built_before():
    """It is part of the key of cached features: another process must find them under the same one."""
    keras.layers.Add()  # Keras numbers what it names itself, through all networks of a process
    built = backbone.build("Xception", side=71, alpha=None, weights=None, trainable_layers=30)
    assert built.cut == "add-95"


# ---- the forward pass


def test_folding_weights_into_constants_changes_no_feature(small, in_float32):
    gray = squares(4, 64)
    plain = np.asarray(small.trunk(rgb(gray), training=False))
    assert plain.std(axis=0).mean() > 0.1
    np.testing.assert_allclose(in_float32(gray), plain, rtol=1e-4, atol=1e-5 * np.abs(plain).max())


def test_features_are_given_in_the_precision_asked_for(small, in_float32):
    gray = squares(4, 64)
    full, half = in_float32(gray), backbone.forward(small.trunk, precision="float32", dtype="float16")(gray)
    assert (full.dtype, half.dtype) == (np.float32, np.float16)
    np.testing.assert_array_equal(half, full.astype(np.float16))


def test_features_of_an_image_do_not_depend_on_those_beside_it(in_float32):
    gray = squares(16, 64)
    together = in_float32(gray)
    np.testing.assert_allclose(in_float32(gray[5:8]), together[5:8], rtol=1e-5, atol=1e-5)


@needs_bfloat16
def test_the_intensive_trunk_in_bfloat16_is_near_the_one_in_float32(intensive):
    gray = squares(2, 224)
    exact = np.asarray(intensive.trunk(rgb(gray), training=False))
    fast = backbone.forward(intensive.trunk, precision="bfloat16", dtype="float32")(gray)
    assert 1e-4 < backbone.relative_error(fast, exact) < 0.02  # not 0: it was in bfloat16


@needs_bfloat16
def test_running_in_bfloat16_leaves_everything_else_in_float32(small, in_float32):
    import tensorflow as tf

    random = np.random.default_rng(0)
    images, kernels = (random.normal(size=s).astype(np.float32) for s in ((2, 16, 16, 32), (3, 3, 32, 64)))

    def convolve() -> np.ndarray:
        """Convolve in a function that is new each time, so that the options of the moment apply to it."""
        return tf.function(lambda given: tf.nn.conv2d(given, kernels, 1, "SAME"))(tf.constant(images)).numpy()

    gray = squares(2, 64)
    before, features = convolve(), in_float32(gray)
    in_bfloat16 = backbone.forward(small.trunk, precision="bfloat16", dtype="float32")
    assert backbone.relative_error(in_bfloat16(gray), features) > 1e-3
    np.testing.assert_array_equal(convolve(), before)
    np.testing.assert_array_equal(in_float32(gray), features)
    with backbone._bfloat16():
        assert backbone.relative_error(convolve(), before) > 1e-4  # it could have been touched


def test_the_relative_error_is_a_share_of_the_norm():
    expected = np.array([3.0, 4.0], np.float32)
    assert backbone.relative_error(np.array([3.0, 4.5], np.float32), expected) == pytest.approx(0.1)
    assert backbone.relative_error(expected, expected) == 0
    assert backbone.relative_error(np.zeros(2, np.float16), np.zeros(2, np.float16)) == 0


# ---- weights


def test_weights_of_another_width_are_refused_with_the_file_named(tmp_path):
    other = keras.applications.MobileNetV2(
        input_shape=(96, 96, 3), alpha=0.5, include_top=False, weights=None
    )
    path = tmp_path / "half.npz"
    np.savez(path, *other.get_weights())
    with pytest.raises(WeightsNotFound, match=r"half\.npz") as caught:
        backbone.build("MobileNetV2", side=96, alpha=0.35, weights=path)
    assert "weights of MobileNetV2 with alpha 0.35" in str(caught.value)


def test_a_file_that_holds_no_weights_is_refused(tmp_path):
    path = tmp_path / "not.h5"
    path.write_text("hello")
    with pytest.raises(WeightsNotFound, match="does not fit the backbone"):
        backbone.build("MobileNetV2", side=96, alpha=0.35, weights=path)


def test_weights_are_known_by_the_bytes_of_their_file_or_by_their_seed(tmp_path):
    (tmp_path / "weights").write_bytes(b"abc")
    # FIPS 180-2, B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert backbone.weights_digest(tmp_path / "weights") == expected
    assert backbone.weights_digest(None) == "random-0"
