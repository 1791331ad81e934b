"""Grad-CAM: which parts of an image speak for the answer that a classifier gives.

In: a classifier as `classifier.assemble` makes it, gray squares. Out: its scores, and a coarse map of each square.
TensorFlow and Keras are imported in the functions.

A map says where the features lie that a score rests on. It does not say that they are the disease.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Halves:
    """A classifier in two traced functions; weights that are set later are seen by them.

    Attributes:
        maps: (n, side, side) uint8 gray pixels -> the last feature maps before they are pooled.
        logits: feature maps -> (n,) what comes before the sigmoid.
        slopes: feature maps -> the derivative of the logit by each of their places.
    """

    maps: Any
    logits: Any
    slopes: Any

    def score(self, gray: np.ndarray) -> np.ndarray:
        """Return (n,) float32 scores, 0-1, of (n, side, side) uint8 gray pixels."""
        import tensorflow as tf

        return tf.sigmoid(self.logits(self.maps(tf.constant(gray)))).numpy()

    def explain(self, gray: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores, and maps of what speaks for an answer.

        Source: Selvaraju et al. (2017), "Grad-CAM", ICCV, equations 1 and 2. With A the last feature maps, and y the
        logit (whose gradient does not fade where the score is near 0 or 1):

            map = ReLU(sum over k of (mean over places of dy / dA_k) * A_k)

        Each map is divided by its largest value, so that 1 is the hottest place of its own image; maps of two images,
        or of two models, cannot be compared by their colour. A map that is 0 everywhere stays so: nothing speaks for
        the answer.

        Args:
            gray: (n, side, side) uint8 pixels.
            sign: (n,) 1 to ask what speaks for the disease, -1 to ask what speaks against it.

        Returns:
            Scores (n,) float32, 0-1, and maps (n, height, width) float32, 0-1.
        """
        import tensorflow as tf

        maps = self.maps(tf.constant(gray))
        weight = self.slopes(maps).numpy().mean(axis=(1, 2), keepdims=True) * sign[:, None, None, None]
        heat = np.maximum((weight * maps.numpy()).sum(axis=-1), 0)
        top = heat.max(axis=(1, 2), keepdims=True)
        shares = np.divide(heat, top, out=np.zeros_like(heat), where=top > 0)
        return tf.sigmoid(self.logits(maps)).numpy(), shares.astype(np.float32)


def halves(model: keras.Model) -> Halves:
    """Part a classifier at its pooling.

    Args:
        model: a chain of layers from pixels (n, side, side, 3) to one score, with a layer named `pool` in it or, at the
            end of a layer named `tail`, a pooling, and with a dense layer as its last.

    Raises:
        ValueError: it has no such layer.
    """
    import keras
    import tensorflow as tf

    before, after = _around_the_pool(model)
    *hidden, last = after
    if not isinstance(last, keras.layers.Dense) or last.bias is None:
        raise ValueError(f"Expected a dense layer at the end of {model.name}. Received: {last.name}")
    kernel, bias = last.kernel, last.bias
    side = model.input_shape[1]

    @tf.function(input_signature=[tf.TensorSpec((None, side, side), tf.uint8)])
    def maps(gray: Any) -> Any:
        value = tf.repeat(tf.cast(gray, tf.float32)[..., None], 3, axis=-1)
        for layer in before:
            value = layer(value, training=False)
        return value

    def logit(value: Any) -> Any:
        pooled = tf.reduce_mean(value, axis=(1, 2))
        for layer in hidden:
            pooled = layer(pooled, training=False)
        return tf.squeeze(tf.matmul(pooled, kernel) + bias, axis=-1)

    def slope(value: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(value)
            reached = logit(value)
        return tape.gradient(reached, value)

    return Halves(maps, tf.function(logit, reduce_retracing=True), tf.function(slope, reduce_retracing=True))


def _around_the_pool(model: keras.Model) -> tuple[list[Any], list[Any]]:
    """Return the layers before the pooling and those behind it, each to be called on what the one before gave."""
    import keras

    names = [layer.name for layer in model.layers]
    if "pool" in names:
        place = names.index("pool")
        return model.layers[1:place], model.layers[place + 1 :]
    if "tail" in names:
        place = names.index("tail")
        tail: Any = model.layers[place]
        # Of the pooling in this graph: the layer stands in that of the whole network as well.
        pool, node, _ = tail.output._keras_history
        maps = keras.Model(tail.input, pool._inbound_nodes[node].input_tensors[0], name="maps")
        return [*model.layers[1:place], maps], model.layers[place + 1 :]
    raise ValueError(f"Expected a layer named pool or tail in {model.name}. Received: {', '.join(names)}")
