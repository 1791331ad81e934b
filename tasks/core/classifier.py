"""The classifier: a small head, with or without the backbone's tail before it, and the whole model from raw pixels.

In: the figures of a profile. Out: Keras models. What is trained on cached features are the very layers that the
assembled model ends with: they are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.core.backbone import Backbone
from tasks.core.profile import Profile

if TYPE_CHECKING:
    import keras


def output_bias(prevalence: float) -> float:
    """Return the log odds of the training prevalence, the best constant guess.

    Source: Karpathy, "A Recipe for Training Neural Networks" (2019): initialise the final layer right.
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"Expected a prevalence between 0 and 1. Received: {prevalence}")
    return float(np.log(prevalence / (1 - prevalence)))


def build_head(figures: Profile, *, channels: int, prevalence: float, seed: int) -> keras.Model:
    """Return the uncompiled head: (n, channels) float32 pooled features -> (n, 1) probability.

    The same arguments give the same initial weights and the same sequence of dropout masks.
    """
    import keras

    # Typed loosely because Keras annotates these arguments by their defaults, as texts.
    def initial(n: int) -> Any:
        return keras.initializers.GlorotUniform(seed=2 * seed + n)

    bias: Any = keras.initializers.Constant(output_bias(prevalence))

    features = keras.Input((channels,), name="features")
    hidden = keras.layers.Dense(
        figures.dense_units, activation="relu", kernel_initializer=initial(0), name="hidden"
    )(features)
    kept = keras.layers.Dropout(figures.dropout, seed=seed, name="dropout")(hidden)
    score = keras.layers.Dense(
        1,
        activation="sigmoid",
        kernel_initializer=initial(1),
        bias_initializer=bias,
        name="score",
    )(kept)
    return keras.Model(features, score, name="head")


def attach(tail: keras.Model | None, head: keras.Model) -> keras.Model:
    """Return the uncompiled model that is trained: (n, *features) -> (n, 1) probability; layers are shared.

    The tail runs as in inference: its batch norms keep the statistics of the weights file, and it drops nothing.
    """
    import keras

    if tail is None:
        return head
    features = keras.Input(tail.input_shape[1:], name="features")
    return keras.Model(features, head(tail(features, training=False)), name="classifier")


def restart(model: keras.Model, initial: Sequence[Any]) -> None:
    """Put a model back to its beginning, so that its traced training step (0.5 s and more) serves again.

    Args:
        model: that `attach` returned; where it is compiled, its optimizer forgets its moments.
        initial: value of each of its variables, in their order: weights and the states of dropout.
    """
    for variable, value in zip(model.variables, initial, strict=True):
        variable.assign(value)
    if model.compiled:
        for variable in model.optimizer.variables:
            if variable is not model.optimizer.learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))


def assemble(backbone: Backbone, head: keras.Model, *, name: str) -> keras.Model:
    """Return one model from raw pixels (n, side, side, 3), 0-255, to (n, 1) probability.

    The layers of tail and head are shared, not copied.
    """
    import keras

    score = backbone.trunk.output
    if backbone.tail is not None:
        score = backbone.tail(score, training=False)
    for layer in head.layers[1:]:
        score = layer(score)
    return keras.Model(backbone.trunk.input, score, name=name)


def step_bytes(tail: keras.Model | None, head: keras.Model) -> int:
    """Return about how much memory a training step takes for each image of its batch.

    The output of every layer, as float32: it is held from the forward to the backward pass. Measured for the shipped
    intensive profile: two thirds of that (docs/LOG.md).
    """
    import keras

    parts = [head] if tail is None else [tail, head]
    outputs = [keras.tree.flatten(operation.output) for part in parts for operation in part.operations]
    return 4 * sum(int(np.prod(tensor.shape[1:])) for some in outputs for tensor in some)
