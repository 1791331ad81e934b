"""The classifier: a small head on pooled features, and the whole model that takes raw pixels.

In: the figures of a profile. Out: Keras models. What is trained on cached features is the very head that the
assembled model ends with: they share their layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.core.catalog import Profile

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
    """Return the uncompiled head: (n, channels) float32 features -> (n, 1) probability.

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


def restart(head: keras.Model, fresh: keras.Model) -> None:
    """Put a head back to the state of a fresh one, so that its traced training step (0.5 s) serves again.

    Weights, dropout masks and the optimizer's moments are then those of `fresh`, which is not compiled.
    """
    for variable, initial in zip(head.variables, fresh.variables, strict=True):
        variable.assign(initial)
    if head.compiled:
        for variable in head.optimizer.variables:
            if variable is not head.optimizer.learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))


def assemble(backbone: keras.Model, head: keras.Model, *, name: str) -> keras.Model:
    """Return one model from raw pixels (n, side, side, 3), 0-255, to (n, 1) probability.

    The head's layers are shared, not copied.
    """
    import keras

    score = backbone.output
    for layer in head.layers[1:]:
        score = layer(score)
    return keras.Model(backbone.input, score, name=name)
