"""Head and assembled model against plain Keras: caching features must change nothing."""

from __future__ import annotations

import time

import keras
import numpy as np
import pytest

from tasks.core import backbone, classifier, fitting
from tasks.core.catalog import load_catalog
from tasks.core.profile import Profile
from tests import small_network
from tests.core.kept import Kept

FAST = load_catalog().profile("fast")
SMALL = load_catalog().profile("fast", {"image_side": 64, "alpha": 0.35, "batch_size": 16, "epochs": 2})
LABELS = np.tile([0.0, 1.0], 36).astype(np.float32)


@pytest.fixture(scope="module", params=[0, 30], ids=["frozen", "30 layers trained"])
def small(request, tmp_path_factory) -> backbone.Backbone:
    """A small network whose features vary between images."""
    weights = small_network.write_weights(tmp_path_factory.mktemp("weights") / "small.npz")
    return backbone.build("MobileNetV2", side=64, alpha=0.35, weights=weights, trainable_layers=request.param)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(72, 64, 64) uint8: textured squares, brighter where the label is 1."""
    random = np.random.default_rng(5)
    squares = random.integers(0, 200, (72, 64, 64))
    squares[1::2, 12:40, 12:40] += 55
    return squares.astype(np.uint8)


@pytest.fixture(scope="module")
def features(small, pixels) -> np.ndarray:
    return backbone.forward(small.trunk, precision="float32", dtype="float32")(pixels)


def rgb(gray: np.ndarray) -> np.ndarray:
    """Return raw pixels as a model takes them: (n, side, side, 3) float32, 0-255."""
    return np.repeat(gray[..., None], 3, axis=-1).astype(np.float32)


def rows(inputs: np.ndarray, start: int, end: int) -> fitting.Rows:
    return fitting.Rows(LABELS[start:end], lambda numbers, _: inputs[start:end][numbers])


def fit(
    model: keras.Model, inputs: np.ndarray, figures: Profile = SMALL, seed: int = 3
) -> list[fitting.Epoch]:
    return fitting.fit(
        model,
        rows(inputs, 0, 48),
        rows(inputs, 48, 72),
        figures=figures,
        seed=seed,
        disease="pneumonia",
        clock=time.perf_counter,
        checkpoints=Kept(),
    )


def head(seed: int = 3, channels: int = 1280) -> keras.Model:
    return classifier.build_head(SMALL, channels=channels, prevalence=0.5, seed=seed)


def test_the_assembled_model_scores_what_the_trained_one_scores_on_features(small, pixels, features):
    ours = head()
    model = classifier.attach(small.tail, ours)
    fit(model, features)
    on_features = fitting.predict(model, rows(features, 48, 72), batch_size=16)
    on_pixels = np.ravel(classifier.assemble(small, ours, name="model")(rgb(pixels[48:72]), training=False))
    assert np.ptp(on_features) > 0.1
    np.testing.assert_allclose(on_pixels, on_features, atol=1e-5)


@pytest.mark.parametrize("small", [30], ids=["30 layers trained"], indirect=True)
def test_training_on_cached_features_is_training_through_the_backbone(small, pixels, features):
    ours = head()
    cached = classifier.attach(small.tail, ours)
    assembled = classifier.assemble(small, ours, name="model")
    start = [variable.numpy().copy() for variable in cached.variables]
    beginning = [variable.numpy().copy() for variable in cached.trainable_variables]
    cached_history = fit(cached, features)
    trained = [variable.numpy().copy() for variable in cached.trainable_variables]
    classifier.restart(cached, start)  # the layers are shared: the whole model is back at its beginning
    assert len(assembled.trainable_variables) == len(trained)
    through_history = fit(assembled, rgb(pixels))
    # Adam makes whole steps of gradients that are nearly 0, so a few weights move apart by rounding alone.
    for one, other, before in zip(trained, assembled.trainable_variables, beginning, strict=True):
        assert backbone.relative_error(other.numpy() - before, one - before) < 0.05
    for one, other in zip(cached_history, through_history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-3)
        assert one.validation_auroc == pytest.approx(other.validation_auroc, abs=0.01)


def test_every_trainable_variable_is_trained_and_no_other_is_touched(small, features):
    model = classifier.attach(small.tail, head())
    before = [weight.numpy().copy() for weight in model.weights]
    fit(model, features)
    trainable = {id(weight) for weight in model.trainable_weights}
    for weight, then in zip(model.weights, before, strict=True):
        changed = not np.array_equal(weight.numpy(), then)
        assert changed == (id(weight) in trainable), weight.path


def test_a_restarted_model_trains_like_a_fresh_one(small, features):
    used = classifier.attach(small.tail, head(seed=9))
    beginning = [variable.numpy().copy() for variable in used.variables]
    fit(used, features, seed=9)
    first = [weight.numpy().copy() for weight in used.weights]
    fit(used, features, seed=4)  # something else in between
    assert not np.array_equal(used.weights[-2].numpy(), first[-2])
    classifier.restart(used, beginning)
    fit(used, features, seed=9)
    for one, other in zip(first, used.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_untrained_head_scores_the_prevalence_on_average():
    model = classifier.build_head(FAST, channels=8, prevalence=0.2, seed=0)
    assert float(model(np.zeros((1, 8), np.float32))[0, 0]) == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1])
def test_a_prevalence_without_both_classes_is_refused(prevalence):
    with pytest.raises(ValueError, match="Expected a prevalence between 0 and 1"):
        classifier.output_bias(prevalence)
