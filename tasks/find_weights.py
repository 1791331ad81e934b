"""Where a profile's backbone weights are: a path, Keras' cache, or, through Keras, the network.

In: the figures of the profile. Out: the key of the backbone, with the digest of its weights.
"""

from __future__ import annotations

import os
from pathlib import Path

from tasks.compute import fetch_imagenet
from tasks.core.backbone import weights_digest
from tasks.core.networks import imagenet_file, network, weights_file, weights_not_found
from tasks.core.profile import Profile
from tasks.feature_spaces import BackboneKey
from tasks.worker import Worker


def find_weights(figures: Profile, worker: Worker) -> BackboneKey:
    """Return the backbone of a profile with weights that are there.

    Raises:
        CatalogError: the backbone is unknown, or cannot have this alpha or side, or there are no such weights.
        WeightsNotFound: they are not on this machine, and cannot be fetched.
    """
    network(figures.backbone, alpha=figures.alpha, side=figures.image_side)
    weights = _locate(figures, worker)
    return BackboneKey(
        figures.backbone,
        figures.image_side,
        figures.alpha,
        None if weights is None else str(weights),
        weights_digest(weights),
        figures.trainable_layers,
        figures.precision,
    )


def _locate(figures: Profile, worker: Worker) -> Path | None:
    if figures.weights == "random":
        return None
    if figures.weights != "imagenet":
        return weights_file(figures.weights)
    name, side, alpha = figures.backbone, figures.image_side, figures.alpha
    cached = _keras_cache() / imagenet_file(name, side=side, alpha=alpha)
    if not os.path.isfile(cached):
        worker.ask(fetch_imagenet, name, side, alpha)
    if not os.path.isfile(cached):
        raise weights_not_found("Keras fetched it, but not to this place", name, side, alpha)
    return cached


def _keras_cache() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"
