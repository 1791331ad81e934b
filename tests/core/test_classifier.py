"""Backbone, head and trainer against plain Keras: caching features must change nothing."""

from __future__ import annotations

import time

import keras
import numpy as np
import pytest

from tasks.core import backbone, classifier, fitting
from tasks.core.catalog import Profile, load_catalog
from tasks.core.errors import CatalogError, WeightsNotFound

FAST = load_catalog().profile("fast")
INTENSIVE = load_catalog().profile("intensive")
SMALL = load_catalog().profile("fast", {"image_side": 96, "alpha": 0.35, "batch_size": 16, "epochs": 2})


@pytest.fixture(scope="module")
def small_backbone() -> keras.Model:
    """A small network with random weights whose features vary between images."""
    return backbone.build("MobileNetV2", side=96, alpha=0.35, weights=None)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(72, 96, 96) uint8: textured squares, brighter where the label is 1."""
    random = np.random.default_rng(5)
    squares = random.integers(0, 200, (72, 96, 96))
    squares[1::2, 20:60, 20:60] += 55
    return squares.astype(np.uint8)


LABELS = np.tile([0.0, 1.0], 36).astype(np.float32)


def rgb(gray: np.ndarray) -> np.ndarray:
    """Return raw pixels as a model takes them: (n, side, side, 3) float32, 0-255."""
    return np.repeat(gray[..., None], 3, axis=-1).astype(np.float32)


def rows(inputs: np.ndarray, start: int, end: int) -> fitting.Rows:
    return fitting.Rows(LABELS[start:end], lambda numbers: inputs[start:end][numbers])


def fit(
    model: keras.Model, inputs: np.ndarray, figures: Profile = SMALL, seed: int = 3
) -> list[fitting.Epoch]:
    return fitting.fit(
        model, rows(inputs, 0, 48), rows(inputs, 48, 72), figures=figures, seed=seed, clock=time.perf_counter
    )


def head(seed: int = 3, channels: int = 1280) -> keras.Model:
    return classifier.build_head(SMALL, channels=channels, prevalence=0.5, seed=seed)


def test_the_fast_model_has_the_parameters_of_the_report():
    base = backbone.build("MobileNetV2", side=128, alpha=0.75, weights=None)
    model = classifier.assemble(
        base, classifier.build_head(FAST, channels=1280, prevalence=0.5, seed=0), name="model"
    )
    assert model.count_params() == 1_464_113
    assert sum(int(np.prod(w.shape)) for w in model.trainable_variables) == 82_049
    assert model.input_shape == (None, 128, 128, 3)


def test_the_intensive_model_has_the_parameters_of_the_report():
    base = backbone.build("DenseNet121", side=224, alpha=None, weights=None)
    model = classifier.assemble(
        base, classifier.build_head(INTENSIVE, channels=1024, prevalence=0.5, seed=0), name="model"
    )
    assert model.count_params() == 7_300_161


@pytest.mark.parametrize("name", backbone.NETWORKS)
def test_the_table_of_networks_knows_their_channels(name):
    known = backbone.NETWORKS[name]
    model = backbone.build(name, side=96, alpha=0.35 if known.has_alpha else None, weights=None)
    assert model.output_shape == (None, known.channels)


def test_mobilenet_is_fed_minus_one_to_one():
    model = backbone.build("MobileNetV2", side=96, alpha=0.35, weights=None)
    scaled = model.get_layer("preprocessing")(np.array([0.0, 127.5, 255.0], np.float32))
    np.testing.assert_allclose(scaled, [-1.0, 0.0, 1.0], atol=1e-6)


def test_densenet_is_fed_what_keras_itself_prepares_for_it():
    model = backbone.build("DenseNet121", side=96, alpha=None, weights=None)
    raw = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.float32)
    expected = keras.applications.densenet.preprocess_input(raw.copy())
    np.testing.assert_allclose(model.get_layer("preprocessing")(raw), expected, atol=1e-5)


def test_folding_weights_into_constants_changes_no_feature(small_backbone, pixels):
    folded = backbone.forward(small_backbone)(pixels[:20])
    plain = small_backbone.predict(rgb(pixels[:20]), verbose=0)
    np.testing.assert_allclose(folded, plain, rtol=1e-4, atol=1e-5 * np.abs(plain).max())


def test_the_assembled_model_scores_what_the_head_scores_on_features(small_backbone, pixels):
    features = backbone.forward(small_backbone)(pixels)
    trained = head()
    fit(trained, features)
    assembled = classifier.assemble(small_backbone, trained, name="model")
    on_features = fitting.predict(trained, rows(features, 48, 72), batch_size=16)
    on_pixels = assembled.predict(rgb(pixels[48:72]), verbose=0).ravel()
    np.testing.assert_allclose(on_pixels, on_features, atol=1e-5)


def test_training_on_cached_features_is_training_through_the_backbone(small_backbone, pixels):
    features = backbone.forward(small_backbone)(pixels)
    cached, through = head(), classifier.assemble(small_backbone, head(), name="model")
    cached_history = fit(cached, features)
    through_history = fit(through, rgb(pixels))
    for ours, theirs in zip(cached.trainable_variables, through.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)  # Adam amplifies float rounding to this
    for ours, theirs in zip(cached_history, through_history, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, abs=1e-4)
        assert ours.validation_auroc == pytest.approx(theirs.validation_auroc, abs=0.01)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(pixels):
    inputs = pixels.reshape(72, -1)[:, :1280].astype(np.float32) / 255
    first, again, other = head(), head(), head(seed=4)
    for model, seed in ((first, 3), (again, 3), (other, 4)):
        fit(model, inputs, seed=seed)
    for a, b, c in zip(
        first.trainable_variables, again.trainable_variables, other.trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_a_restarted_head_trains_like_a_fresh_one(pixels):
    inputs = pixels.reshape(72, -1)[:, :1280].astype(np.float32) / 255
    used, fresh = head(seed=9), head(seed=3)
    fit(used, inputs, seed=9)
    classifier.restart(used, head(seed=3))
    fit(used, inputs)
    fit(fresh, inputs)
    for a, b in zip(used.trainable_variables, fresh.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_weights_of_the_best_epoch_are_kept(pixels):
    inputs = pixels.reshape(72, -1)[:, :1280].astype(np.float32) / 255
    figures = SMALL.model_copy(update={"epochs": 6, "learning_rate": 0.05})
    model = head()
    history = fit(model, inputs, figures)
    scores = fitting.predict(model, rows(inputs, 48, 72), batch_size=16)
    kept = fitting.best_epoch(history)
    assert kept.validation_auroc == max(epoch.validation_auroc for epoch in history)
    assert fitting.cross_entropy(LABELS[48:], scores) == pytest.approx(kept.validation_loss, abs=1e-6)


def test_an_epoch_takes_no_more_steps_than_the_profile_says_and_no_image_twice():
    figures = FAST.model_copy(update={"steps_per_epoch": 3})
    taken = fitting.batches(1000, figures=figures, seed=0, epoch=1)
    assert [len(batch) for batch in taken] == [64, 64, 64]
    assert len(set(np.concatenate(taken).tolist())) == 192
    assert [len(batch) for batch in fitting.batches(100, figures=FAST, seed=0, epoch=1)] == [64, 36]


def test_an_untrained_head_scores_the_prevalence_on_average():
    model = classifier.build_head(FAST, channels=8, prevalence=0.2, seed=0)
    assert float(model(np.zeros((1, 8), np.float32))[0, 0]) == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1])
def test_a_prevalence_without_both_classes_is_refused(prevalence):
    with pytest.raises(ValueError, match="Expected a prevalence between 0 and 1"):
        classifier.output_bias(prevalence)


def test_an_unknown_backbone_suggests_the_nearest():
    with pytest.raises(CatalogError, match="Did you mean 'MobileNetV2'"):
        backbone.network("MobilNetV2", alpha=None)


@pytest.mark.parametrize(("name", "alpha"), [("DenseNet121", 0.5), ("MobileNetV2", 1.4)])
def test_an_impossible_alpha_is_refused(name, alpha):
    with pytest.raises(CatalogError, match="cannot have this alpha"):
        backbone.network(name, alpha=alpha)


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


def test_the_name_of_the_imagenet_file_is_the_one_that_keras_asks_for(monkeypatch):
    asked = []

    def get_file(name, *_, **__):
        asked.append(name)
        raise ConnectionError

    module = __import__("keras.src.applications.mobilenet_v2", fromlist=["file_utils"])
    monkeypatch.setattr(module.file_utils, "get_file", get_file)
    for side in (128, 100):
        with pytest.raises(ConnectionError):
            keras.applications.MobileNetV2(input_shape=(side, side, 3), alpha=0.75, include_top=False)
    with pytest.raises(ConnectionError):
        keras.applications.DenseNet121(input_shape=(224, 224, 3), include_top=False)
    assert asked == [
        backbone.imagenet_file("MobileNetV2", side=128, alpha=0.75),
        backbone.imagenet_file("MobileNetV2", side=100, alpha=0.75),
        backbone.imagenet_file("DenseNet121", side=224, alpha=None),
    ]
