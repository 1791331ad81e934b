"""The backbone: a network of keras.applications from raw pixels to pooled features, preprocessing inside.

In: (n, side, side, 3), 0-255. Out: (n, channels) float32. TensorFlow and Keras are imported in the functions.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.core.errors import CatalogError, WeightsNotFound, did_you_mean, first_line

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Network:
    """What must be known of a network before it is built.

    Attributes:
        preprocessing: what it was trained on: "tf" -1..1; "torch" ImageNet mean and deviation of 0..1.
        channels: of its last feature map at any alpha up to 1.
        imagenet: name under which Keras keeps its ImageNet weights without top.
        sides: px for which such weights exist; at another side those of the largest are taken.
        has_alpha: whether its width can be chosen.
    """

    preprocessing: str
    channels: int
    imagenet: str
    sides: tuple[int, ...] = ()
    has_alpha: bool = False


NETWORKS = {
    "MobileNetV2": Network(
        "tf",
        1280,
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{side}_no_top.h5",
        sides=(96, 128, 160, 192, 224),
        has_alpha=True,
    ),
    "DenseNet121": Network("torch", 1024, "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"),
}
#: Scale and offset of each kind, per channel R, G, B: pixels * scale + offset.
_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])
SCALES: dict[str, tuple[Any, Any]] = {
    "tf": (1 / 127.5, -1.0),
    "torch": ((1 / 255 / _DEVIATION).tolist(), (-_MEAN / _DEVIATION).tolist()),
}
#: Initial weights of a backbone that was asked for with weights = "random": the same in every process.
RANDOM_SEED = 0


def network(backbone: str, *, alpha: float | None) -> Network:
    """Return what is known of a backbone.

    Raises:
        CatalogError: it is not in the table, or cannot have this alpha.
    """
    known = NETWORKS.get(backbone)
    if known is None:
        raise CatalogError(
            f"There is no backbone '{backbone}'.{did_you_mean(backbone, NETWORKS)}",
            where="profiles.toml, key backbone",
            expected=f"one of {', '.join(NETWORKS)}",
            received=backbone,
            fix="take one of these",
        )
    if alpha is not None and (not known.has_alpha or alpha > 1):
        raise CatalogError(
            f"{backbone} cannot have this alpha.",
            where="profiles.toml, key alpha",
            expected="a width up to 1.0" if known.has_alpha else "no alpha",
            received=alpha,
            fix="choose a smaller alpha" if known.has_alpha else "remove the key alpha",
        )
    return known


def imagenet_file(backbone: str, *, side: int, alpha: float | None) -> str:
    """Return the name of the file in which Keras keeps the ImageNet weights of a backbone."""
    known = network(backbone, alpha=alpha)
    nearest = side if side in known.sides else max(known.sides, default=side)
    return known.imagenet.format(alpha=1.0 if alpha is None else alpha, side=nearest)


def weights_not_found(received: str, backbone: str, side: int, alpha: float | None) -> WeightsNotFound:
    """Return the error for weights that are not to be had, with the three ways to mend it."""
    file = imagenet_file(backbone, side=side, alpha=alpha)
    return WeightsNotFound(
        f"The ImageNet weights of {backbone} are not on this machine.",
        where=f"{file} in Keras' cache (~/.keras/models, or KERAS_HOME)",
        expected="the file",
        received=received,
        fix="one of three: (1) copy the file into Keras' cache from a machine that has it; (2) name a file: "
        "--set weights=PATH, or the profile's key weights; (3) run once where a network is, so that Keras "
        "fetches it",
    )


def weights_digest(weights: Path | None) -> str:
    """Return the sha256 of a weights file; None stands for random weights, which the seed decides."""
    if weights is None:
        return f"random-{RANDOM_SEED}"
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build(backbone: str, *, side: int, alpha: float | None, weights: Path | None) -> keras.Model:
    """Return the frozen network from raw pixels to pooled features.

    Args:
        backbone: key of NETWORKS.
        side: px.
        alpha: width of a MobileNet; None for the others.
        weights: a no_top `.h5` of keras.applications, an `.npz` of arrays in `get_weights` order (any
            float precision), or None for random weights.

    Raises:
        WeightsNotFound: the file does not fit this network.
    """
    import keras

    scale, offset = SCALES[network(backbone, alpha=alpha).preprocessing]
    width = {} if alpha is None else {"alpha": alpha}
    keras.utils.set_random_seed(RANDOM_SEED)
    h5 = weights if weights is not None and weights.suffix != ".npz" else None
    try:
        base = getattr(keras.applications, backbone)(
            input_shape=(side, side, 3), include_top=False, weights=None if h5 is None else str(h5), **width
        )
        if weights is not None and h5 is None:
            with np.load(weights) as arrays:
                base.set_weights([arrays[name].astype(np.float32) for name in arrays.files])
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsNotFound(
            "The weights file does not fit the backbone.",
            where=weights,
            expected=f"weights of {backbone}{'' if alpha is None else f' with alpha {alpha}'}, without its top",
            received=first_line(error),
            fix="name the right file in the profile's key weights, or the width it was made for in alpha",
        ) from error
    base.trainable = False
    pixels = keras.Input((side, side, 3), name="pixels")
    scaled = keras.layers.Rescaling(scale, offset, name="preprocessing")(pixels)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(base(scaled, training=False))
    return keras.Model(pixels, pooled, name="backbone")


def forward(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return the model as a function with its weights folded into constants (about 1.3 times as fast).

    The function takes (n, side, side) uint8 gray pixels and gives (n, channels) float32.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    side = model.input_shape[1]

    def run(gray: Any) -> Any:
        return model(tf.repeat(tf.cast(gray, tf.float32)[..., None], 3, axis=-1), training=False)

    traced = tf.function(run).get_concrete_function(tf.TensorSpec((None, side, side), tf.uint8))
    folded = convert_variables_to_constants_v2(traced)
    return lambda gray: folded(tf.constant(gray))[0].numpy()
