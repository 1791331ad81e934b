"""A network that is quick to build and whose features live: with plain random weights they fade from layer to layer."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

#: Figures of the network, as `backbone.build` and a profile name them.
NAME, ALPHA, SIDE, TRAINABLE_LAYERS = "MobileNetV2", 0.35, 64, 30
#: What every kernel of its convolutions is multiplied by: features are then of the order of 1, as in a trained network.
_GAIN = 3


def write_weights(path: Path) -> Path:
    """Write the network's weights as an `.npz`: the same ones whenever it is called."""
    import keras

    base = keras.applications.MobileNetV2(
        input_shape=(96, 96, 3), alpha=ALPHA, include_top=False, weights=None
    )
    seeds = random.Random(0)  # not Python's own, which threads of other tests draw from at the same time
    for layer in base.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            drawn = keras.initializers.GlorotUniform(seed=seeds.randint(1, 10**9))
            layer.set_weights([np.array(drawn(kernel.shape)) * _GAIN for kernel in layer.get_weights()])
    np.savez(path, *(weight.astype(np.float16) for weight in base.get_weights()))
    return path
