"""Grad-CAM: which parts of an image speak for the answer that a classifier gives.

In: a classifier as `classifier.assemble` makes it, gray squares. Out: its scores, and a coarse map of each square.
TensorFlow and Keras are imported in the functions.

A map says where the features lie that a score rests on. It does not say that they are the disease.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

#: (n, side, side) uint8 and (n,) float32, 1 or -1 -> scores (n,), maps (n, height, width).
Explain = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def explainer(model: keras.Model) -> Explain:
    """Return a function that explains scores of a classifier; weights that are set later are seen by it.

    Source: Selvaraju et al. (2017), "Grad-CAM", ICCV, equations 1 and 2. With A the last feature maps before they are
    pooled, and y what comes before the sigmoid (its gradient does not fade where the score is near 0 or 1):

        map = ReLU(sum over k of (mean over places of dy / dA_k) * A_k)

    Each map is divided by its largest value, so that 1 is the hottest place of its own image; maps of two images, or
    of two models, cannot be compared by their colour. A map that is 0 everywhere stays so: nothing speaks for the
    answer.

    The function takes (n, side, side) uint8 gray pixels and (n,) float32: 1 to ask what speaks for the disease, -1 to
    ask what speaks against it. It returns (n,) float32 scores, 0-1, and (n, height, width) float32 maps, 0-1.

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

    @tf.function(reduce_retracing=True)
    def run(gray: Any, sign: Any) -> Any:
        value = tf.repeat(tf.cast(gray, tf.float32)[..., None], 3, axis=-1)
        for layer in before:
            value = layer(value, training=False)
        with tf.GradientTape() as tape:
            tape.watch(value)
            pooled = tf.reduce_mean(value, axis=(1, 2))
            for layer in hidden:
                pooled = layer(pooled, training=False)
            logit = tf.squeeze(tf.matmul(pooled, kernel) + bias, axis=-1)
        slope: Any = tape.gradient(logit, value)
        weight = tf.reduce_mean(slope, axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(sign[:, None, None, None] * weight * value, axis=-1))
        top = tf.reduce_max(heat, axis=(1, 2), keepdims=True)
        return tf.sigmoid(logit), tf.math.divide_no_nan(heat, top)

    def explain(gray: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, maps = run(tf.constant(gray), tf.constant(sign, tf.float32))
        return scores.numpy(), maps.numpy()

    return explain


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
