"""The table of networks against Keras itself: nothing missing, and every row what Keras would do or ask for."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from tasks.core import backbone
from tasks.core.errors import CatalogError
from tasks.core.networks import NETWORKS, SCALES, imagenet_file, network, weights_not_found

#: One of each kind that can be built in seconds; the others are built by `make test-all`.
QUICK = ("MobileNetV2", "DenseNet121", "EfficientNetB0", "MobileNetV3Small", "VGG16")
ALL = [pytest.param(name, marks=() if name in QUICK else pytest.mark.full) for name in NETWORKS]
#: What the published weights of an EfficientNet hold as mean and (in place of its square) as variance of 0..1.
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
WITH_WIDTHS = [(name, alpha) for name, known in NETWORKS.items() for alpha in known.widths]


def module_of(name: str) -> ModuleType:
    return sys.modules[getattr(keras.applications, name).__module__]


def keras_network(
    name: str, *, side: int, alpha: float | None = None, weights: str | None = None
) -> keras.Model:
    """Return a network without its top as Keras alone builds it."""
    width = {} if alpha is None else {"alpha": alpha}
    with warnings.catch_warnings():  # Keras, at a side without weights of its own
        warnings.filterwarnings("ignore", ".*rows. is not", UserWarning)
        return getattr(keras.applications, name)(
            input_shape=(side, side, 3), include_top=False, weights=weights, **width
        )


def gray(n: int, side: int) -> np.ndarray:
    """Return random pixels as a backbone takes them: (n, side, side, 3) float32, 0-255, channels alike."""
    drawn = np.random.default_rng(side).integers(0, 256, (n, side, side, 1))
    return np.repeat(drawn, 3, axis=-1).astype(np.float32)


def test_the_table_holds_every_public_network_of_keras_and_no_other():
    public = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(NETWORKS) == public
    assert len(NETWORKS) == 40


@pytest.mark.parametrize("name", NETWORKS)
def test_gray_pixels_are_prepared_as_keras_prepares_them(name):
    scale, offset = SCALES[NETWORKS[name].preprocessing]
    pixels = gray(2, 8)
    expected = module_of(name).preprocess_input(pixels.copy())
    prepared = keras.layers.Rescaling(scale, offset)(pixels)
    if NETWORKS[name].preprocessing == "efficientnet":
        # All that a file of weights cannot bring along: the last division of Keras' "imagenet".
        root = np.sqrt(module_of(name).IMAGENET_STDDEV_RGB)
        np.testing.assert_allclose(normalised(prepared), normalised(expected) / root, atol=1e-5)
    else:
        np.testing.assert_allclose(prepared, expected, atol=1e-4)


def normalised(pixels: np.ndarray) -> np.ndarray:
    """Return what the first two layers of an EfficientNet give, with their published weights."""
    return (np.asarray(pixels) / 255 - MEAN) / np.sqrt(DEVIATION)


@pytest.mark.parametrize("name", ALL)
def test_a_network_gives_the_features_that_keras_gives_with_its_imagenet_weights(name, tmp_path, monkeypatch):
    """Random weights stand in for ImageNet's: Keras finds them under the name in the table, and loads them."""
    known = NETWORKS[name]
    side, alpha = known.least_side, min(known.widths, default=None)
    file = tmp_path / "random.weights.h5"
    keras.utils.set_random_seed(1)
    random = keras_network(name, side=side, alpha=alpha)
    if known.preprocessing == "efficientnet":
        [layer] = [layer for layer in random.layers if isinstance(layer, keras.layers.Normalization)]
        layer.set_weights([MEAN, DEVIATION, np.array(0)])
    random.save_weights(file)
    asked = []
    monkeypatch.setattr(file_utils, "get_file", lambda fname, *_, **__: asked.append(fname) or str(file))
    theirs = keras_network(name, side=side, alpha=alpha, weights="imagenet")
    assert asked == [imagenet_file(name, side=side, alpha=alpha)]

    ours = backbone.build(name, side=side, alpha=alpha, weights=file).trunk
    file.unlink()  # of 40 networks they would fill several GB until pytest clears its folders
    pixels = gray(4, side)
    found = np.asarray(ours(pixels, training=False))
    maps = theirs(module_of(name).preprocess_input(pixels.copy()), training=False)
    expected = np.asarray(maps).mean(axis=(1, 2))
    assert found.shape == (4, network(name, alpha=alpha).channels)
    assert np.ptp(expected, axis=0).max() > 0.01 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_side_below_the_least_is_refused_as_keras_refuses_it(name):
    least = NETWORKS[name].least_side
    with pytest.raises(ValueError, match=f"at least {least}x{least}"):
        keras_network(name, side=least - 1)
    network(name, alpha=None, side=least)
    with pytest.raises(CatalogError, match="images are too small") as caught:
        network(name, alpha=None, side=least - 1)
    assert f"at least {least} px" in str(caught.value)
    assert f"received: {least - 1} px" in str(caught.value)
    assert f"set image_side = {least} or more" in caught.value.fix


class Asked(Exception):
    """Carries the name of the file that Keras asked for; nothing is fetched."""


def file_that_keras_asks_for(name: str, side: int, alpha: float | None) -> str:
    with pytest.MonkeyPatch.context() as patch:

        def get_file(fname, *_, **__):
            raise Asked(fname)

        patch.setattr(file_utils, "get_file", get_file)
        with pytest.raises(Asked) as caught:
            keras_network(name, side=side, alpha=alpha, weights="imagenet")
    return str(caught.value)


@pytest.mark.parametrize(("name", "alpha"), WITH_WIDTHS)
def test_each_width_has_the_file_that_keras_asks_for(name, alpha):
    assert imagenet_file(name, side=224, alpha=alpha) == file_that_keras_asks_for(name, 224, alpha)


@pytest.mark.parametrize("side", [96, 128, 192, 100])
@pytest.mark.parametrize(("name", "alpha"), [("MobileNet", 0.25), ("MobileNetV2", 0.35)])
def test_a_side_has_the_file_that_keras_asks_for(name, alpha, side):
    assert imagenet_file(name, side=side, alpha=alpha) == file_that_keras_asks_for(name, side, alpha)


def test_no_alpha_has_the_file_of_the_full_width():
    for name in ("MobileNet", "MobileNetV2", "MobileNetV3Small"):
        assert imagenet_file(name, side=224, alpha=None) == imagenet_file(name, side=224, alpha=1.0)


@pytest.mark.parametrize("name", [name for name, known in NETWORKS.items() if known.has_alpha])
def test_a_width_that_was_never_published_is_refused_as_keras_refuses_it(name):
    for alpha in (0.1, 0.3, 0.6, 0.9):
        with pytest.raises(ValueError, match="If imagenet weights are being loaded"):
            keras_network(name, side=224, alpha=alpha, weights="imagenet")
        network(name, alpha=alpha, side=224)  # from a file or from random weights it can be built
        with pytest.raises(CatalogError, match="no ImageNet weights") as caught:
            imagenet_file(name, side=224, alpha=alpha)
        assert f"one of {', '.join(map(str, NETWORKS[name].widths))}" in str(caught.value)
        assert f"received: {alpha}" in str(caught.value)
        assert "a file, or random" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "alpha"),
    [
        ("MobileNet", 0.3),
        ("MobileNetV2", 0.12),
        ("MobileNetV3Small", 0.12),  # rounded down it would lose more than a tenth
        ("MobileNetV3Small", 0.55),
        ("MobileNetV3Large", 0.04),
    ],
)
def test_the_channels_of_any_width_are_known(name, alpha):
    assert keras_network(name, side=32, alpha=alpha).output_shape[-1] == network(name, alpha=alpha).channels


def test_the_channels_of_the_full_width_are_those_of_none():
    for name, known in NETWORKS.items():
        if known.has_alpha:
            assert network(name, alpha=1.0).channels == network(name, alpha=None).channels == known.channels


def test_a_width_that_leaves_a_layer_without_a_channel_is_refused_as_keras_refuses_it():
    keras_network("MobileNet", side=32, alpha=1 / 32)
    network("MobileNet", alpha=1 / 32)
    with pytest.raises(ValueError, match="filters"):
        keras_network("MobileNet", side=32, alpha=0.03)
    with pytest.raises(CatalogError, match="cannot have this alpha") as caught:
        network("MobileNet", alpha=0.03)
    assert "a width from 0.03125 to 1.0" in str(caught.value)
    assert caught.value.fix == "choose a larger alpha"


@pytest.mark.parametrize(
    ("name", "alpha", "fix"),
    [("DenseNet121", 0.5, "remove the key alpha"), ("MobileNetV2", 1.4, "choose a smaller alpha")],
)
def test_an_impossible_alpha_is_refused(name, alpha, fix):
    with pytest.raises(CatalogError, match="cannot have this alpha") as caught:
        network(name, alpha=alpha)
    assert caught.value.fix == fix
    assert f"received: {alpha}" in str(caught.value)


def test_an_unknown_backbone_suggests_the_nearest():
    with pytest.raises(CatalogError, match="Did you mean 'MobileNetV2'") as caught:
        network("MobilNetV2", alpha=None)
    assert all(name in str(caught.value) for name in NETWORKS)


def test_weights_that_are_not_to_be_had_are_named_with_three_ways_out():
    error = weights_not_found("nothing", "EfficientNetB0", 224, None)
    assert "efficientnetb0_notop.h5" in str(error)
    assert all(way in error.fix for way in ("(1) copy", "(2) name a file", "(3) run once"))
