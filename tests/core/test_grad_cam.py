"""Grad-CAM on networks whose answer is known by hand, and on those that are trained."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.core import backbone, classifier
from tasks.core.grad_cam import halves
from tasks.core.profile import Profile
from tests.small_network import ALPHA, NAME, SIDE, TRAINABLE_LAYERS, write_weights

FIGURES = Profile(
    backbone=NAME,
    alpha=ALPHA,
    image_side=SIDE,
    dense_units=4,
    dropout=0.3,
    batch_size=8,
    epochs=1,
    steps_per_epoch=1,
    validation_steps=1,
    learning_rate=0.001,
)


def brightness_network(side: int = 32):
    """A chain as `assemble` makes it, whose two features are the brightness and the darkness of an 8 x 8 px cell.

    Its score rises with brightness and falls with darkness.
    """
    import keras

    pixels = keras.Input((side, side, 3), name="pixels")
    scaled = keras.layers.Rescaling(1 / 255, name="preprocessing")(pixels)
    inner = keras.Input((side, side, 3))
    cells = keras.layers.Conv2D(2, 8, strides=8, activation="relu", name="cells")
    base = keras.Model(inner, cells(inner), name="base")
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(base(scaled))
    hidden = keras.layers.Dense(2, activation="relu", name="hidden")
    score = keras.layers.Dense(1, activation="sigmoid", name="score")
    kept = keras.layers.Dropout(0.5, name="dropout")(hidden(pooled))
    model = keras.Model(pixels, score(kept), name="brightness")
    kernel = np.full((8, 8, 3, 2), 1 / 192, np.float32) * np.array([1, -1], np.float32)
    cells.set_weights([kernel, np.array([0, 1], np.float32)])
    hidden.set_weights([np.eye(2, dtype=np.float32), np.zeros(2, np.float32)])
    score.set_weights([np.array([[8.0], [-8.0]], np.float32), np.zeros(1, np.float32)])
    return model


def blob(side: int, row: int, column: int, *, ground: int, colour: int) -> np.ndarray:
    square = np.full((side, side), ground, np.uint8)
    square[row : row + 8, column : column + 8] = colour
    return square


@pytest.fixture(scope="module")
def explain():
    return halves(brightness_network()).explain


@pytest.mark.parametrize(("row", "column"), [(0, 0), (8, 16), (24, 24)])
def test_a_bright_blob_gets_the_heat_of_the_disease(explain, row, column):
    _, maps = explain(blob(32, row, column, ground=0, colour=255)[None], np.ones(1))
    assert maps.shape == (1, 4, 4)
    wanted = np.zeros((4, 4))
    wanted[row // 8, column // 8] = 1
    np.testing.assert_allclose(maps[0], wanted, atol=1e-5)


def test_against_the_disease_a_dark_blob_gets_it(explain):
    square = blob(32, 16, 8, ground=255, colour=0)[None]
    _, against = explain(square, -np.ones(1))
    assert np.unravel_index(against[0].argmax(), (4, 4)) == (2, 1)
    np.testing.assert_allclose(against[0].sum(), 1, atol=1e-5)
    _, speaking = explain(square, np.ones(1))
    assert speaking[0, 2, 1] == pytest.approx(0, abs=1e-5)


def test_each_image_of_a_batch_has_its_own_scale_and_sign(explain):
    squares = np.stack(
        [
            blob(32, 0, 0, ground=0, colour=200),
            blob(32, 8, 8, ground=0, colour=255),
            np.zeros((32, 32), np.uint8),
        ]
    )
    scores, maps = explain(squares, np.array([1, 1, 1], np.float32))
    assert scores[0] < scores[1]
    np.testing.assert_allclose(maps.max(axis=(1, 2)), [1, 1, 0], atol=1e-5)


def test_a_score_at_the_end_of_the_scale_still_has_a_map():
    model = brightness_network()
    model.get_layer("score").set_weights([np.array([[4000.0], [-8.0]], np.float32), np.zeros(1, np.float32)])
    scores, maps = halves(model).explain(blob(32, 8, 8, ground=0, colour=255)[None], np.ones(1))
    assert scores[0] == 1.0
    assert maps[0, 1, 1] == pytest.approx(1)


@pytest.mark.parametrize("trainable_layers", [0, TRAINABLE_LAYERS])
def test_what_is_trained_can_be_explained_frozen_or_with_a_tail(tmp_path, trainable_layers):
    """Equations 1 and 2 by finite differences on the feature maps, and the scores of the model itself."""
    weights = write_weights(tmp_path / "weights.npz")
    built = backbone.build(NAME, side=SIDE, alpha=ALPHA, weights=weights, trainable_layers=trainable_layers)
    channels = built.shape[0] if built.tail is None else built.tail.output_shape[-1]
    head = classifier.build_head(FIGURES, channels=channels, prevalence=0.5, seed=3)
    model = classifier.assemble(built, head, name="pneumonia")
    squares = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE)).astype(np.uint8)
    scores, maps = halves(model).explain(squares, np.array([1, -1, 1], np.float32))
    pixels = np.repeat(squares[..., None], 3, axis=-1).astype(np.float32)
    np.testing.assert_allclose(scores, np.ravel(model(pixels, training=False)), atol=1e-5)
    assert maps.shape == (3, SIDE // 32, SIDE // 32)
    assert maps.min() >= 0
    for expected, found in zip(by_differences(built, head, pixels, (1, -1, 1)), maps, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-2)


def by_differences(built, head, pixels, signs):
    """Yield the map of each image: each channel is raised everywhere by a little, and the logit is looked at."""
    import keras

    inner = built.trunk if built.tail is None else built.tail
    pool, node, _ = inner.output._keras_history
    before = keras.Model(inner.input, pool._inbound_nodes[node].input_tensors[0])
    features = pixels if built.tail is None else built.trunk(pixels, training=False)
    values = np.asarray(before(features, training=False), np.float64)
    kernels = [np.asarray(weight, np.float64) for weight in head.get_weights()]
    step = 1e-4

    def logit(pooled):
        hidden = np.maximum(pooled @ kernels[0] + kernels[1], 0)
        return (hidden @ kernels[2] + kernels[3])[0]

    for value, sign in zip(values, signs, strict=True):
        pooled, places = value.mean(axis=(0, 1)), value.shape[0] * value.shape[1]
        slopes = np.array(
            [
                (logit(pooled + step * one) - logit(pooled - step * one)) / 2 / step
                for one in np.eye(len(pooled))
            ]
        )
        heat = np.maximum((sign * slopes / places * value).sum(axis=-1), 0)
        yield heat / heat.max() if heat.max() > 0 else heat


def test_a_model_without_a_pool_is_refused():
    import keras

    pixels = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(pixels)
    model = keras.Model(pixels, keras.layers.Dense(1)(flat), name="strange")
    with pytest.raises(ValueError, match="Expected a layer named pool or tail in strange"):
        halves(model)


def test_a_model_that_does_not_end_in_a_dense_layer_is_refused():
    import keras

    pixels = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(pixels)
    model = keras.Model(pixels, keras.layers.Activation("sigmoid", name="end")(pooled), name="strange")
    with pytest.raises(ValueError, match="Expected a dense layer at the end of strange"):
        halves(model)
