"""The backbone: a network of keras.applications from raw pixels to pooled features, preprocessing inside.

It comes in two parts. The *trunk* is frozen and only ever run forward; what it gives are the *features* of an image.
The *tail* is the trainable end, from features to pooled features; where all layers are frozen there is none.
TensorFlow and Keras are imported in the functions.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.core.errors import CatalogError, WeightsNotFound, first_line
from tasks.core.networks import SCALES, network
from tasks.core.profile import Precision

if TYPE_CHECKING:
    import keras

#: Initial weights of a backbone that was asked for with weights = "random": the same in every process.
RANDOM_SEED = 0


def weights_digest(weights: Path | None) -> str:
    """Return the sha256 of a weights file; None stands for random weights, which the seed decides."""
    if weights is None:
        return f"random-{RANDOM_SEED}"
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network in two parts that follow each other.

    Attributes:
        trunk: (n, side, side, 3) pixels, 0-255 -> (n, *features); frozen.
        tail: (n, *features) -> (n, channels) pooled; None where the trunk pools itself.
        cut: the layer whose output the features are, the same in every process; "pool" where there is no tail.
    """

    trunk: keras.Model
    tail: keras.Model | None
    cut: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the features of one image."""
        return tuple(self.trunk.output_shape[1:])


def build(
    backbone: str, *, side: int, alpha: float | None, weights: Path | None, trainable_layers: int = 0
) -> Backbone:
    """Return the network, its last layers trainable, all batch norms frozen.

    It is cut as late as it can be: at the last layer before the trainable ones that everything goes through.
    Frozen layers behind the cut (branches of the first trainable block) belong to the tail.

    Args:
        backbone: key of NETWORKS.
        side: px.
        alpha: width of a MobileNet; None for the others.
        weights: a no_top `.h5` of keras.applications, an `.npz` of arrays in `get_weights` order (any
            float precision), or None for random weights.
        trainable_layers: number of layers at the end that are trained.

    Raises:
        CatalogError: it has no such number of layers.
        WeightsNotFound: the file does not fit this network.
    """
    import keras

    scale, offset = SCALES[network(backbone, alpha=alpha, side=side).preprocessing]
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
    pool = keras.layers.GlobalAveragePooling2D(name="pool")
    if not trainable_layers:
        return Backbone(
            keras.Model(pixels, pool(base(scaled, training=False)), name="backbone"), None, "pool"
        )
    cut = _cut(base, trainable_layers)
    first = keras.Model(base.input, cut.output, name=f"{backbone}_until_{cut.name}")
    trunk = keras.Model(pixels, first(scaled, training=False), name="trunk")
    tail = keras.Model(cut.output, pool(base.output), name="tail")
    for layer in base.layers[-trainable_layers:]:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    return Backbone(trunk, tail, _steady_name(cut, base))


def forward(trunk: keras.Model, *, precision: Precision, dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the trunk as a function with its weights folded into constants (about 1.3 times as fast).

    The function takes (n, side, side) uint8 gray pixels and gives (n, *features). In bfloat16, products are taken
    in that precision and summed in float32 (2.5 times as fast where the processor has it, docs/LOG.md); whether
    the result is near enough is for `relative_error` to say.

    Args:
        trunk: of a backbone.
        precision: of the arithmetic.
        dtype: of the result.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    side = trunk.input_shape[1]
    gray = tf.TensorSpec((None, side, side), tf.uint8)

    def run(gray: Any) -> Any:
        pixels = tf.repeat(tf.cast(gray, tf.float32)[..., None], 3, axis=-1)
        return tf.cast(trunk(pixels, training=False), dtype)

    folded = convert_variables_to_constants_v2(tf.function(run).get_concrete_function(gray))
    if precision == "float32":
        return lambda gray: folded(tf.constant(gray))[0].numpy()
    # A folded graph is not optimised again by itself, but as the body of another function it is.
    optimised = tf.function(lambda gray: folded(gray)[0], input_signature=[gray])

    def run_in_bfloat16(gray: np.ndarray) -> np.ndarray:
        with _bfloat16():
            return optimised(tf.constant(gray)).numpy()

    return run_in_bfloat16


def relative_error(received: np.ndarray, expected: np.ndarray) -> float:
    """Return how far features are from others: the norm of the difference over that of the expected ones."""
    wanted = expected.astype(np.float64)
    difference = np.linalg.norm(received.astype(np.float64) - wanted)
    return float(difference / max(float(np.linalg.norm(wanted)), 1e-12))


@contextlib.contextmanager
def _bfloat16() -> Iterator[None]:
    """Have oneDNN compute in bfloat16 what is run in this context, and nothing else in this process."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": False})


def _cut(base: keras.Model, trainable_layers: int) -> Any:
    """Return the last operation before the trainable layers whose output is all that later ones need.

    Operations stand in the order in which they are computed, so it is the last one after which only its own
    output is still waited for. The input itself is one, so that there always is a cut.
    """
    import keras

    if trainable_layers > len(base.layers):
        raise CatalogError(
            f"{base.name} has fewer layers than are to be trained.",
            where="profiles.toml, key trainable_layers",
            expected=f"at most {len(base.layers)}",
            received=trainable_layers,
            fix=f"--set trainable_layers={len(base.layers)} trains all of them",
        )
    first = base.layers[-trainable_layers]
    waited: dict[int, int] = {}
    for operation in base.operations:
        for tensor in _inputs(operation):
            waited[id(tensor)] = waited.get(id(tensor), 0) + 1
    open_tensors: set[int] = set()
    cut = base.operations[0]
    for operation in base.operations:
        if operation is first:
            break
        for tensor in _inputs(operation):
            waited[id(tensor)] -= 1
            if not waited[id(tensor)]:
                open_tensors.discard(id(tensor))
        outputs = keras.tree.flatten(operation.output)
        open_tensors.update(id(tensor) for tensor in outputs if waited.get(id(tensor)))
        if len(outputs) == 1 and open_tensors == {id(outputs[0])}:
            cut = operation
    return cut


def _steady_name(operation: Any, base: keras.Model) -> str:
    """Return the name of an operation; where Keras numbered it as it went along, by its place in the network."""
    word = re.sub(r"_\d+$", "", operation.name)
    if word.replace("_", "") != type(operation).__name__.lower():
        return operation.name
    return f"{word}-{base.operations.index(operation)}"


def _inputs(operation: Any) -> list[Any]:
    """Return the tensors that an operation takes; an input layer takes none."""
    import keras

    return [] if isinstance(operation, keras.layers.InputLayer) else keras.tree.flatten(operation.input)
