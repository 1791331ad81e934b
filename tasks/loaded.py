"""What the worker keeps from request to request: open cache spaces, the backbone, its forward pass, the model in training.

Everything here lives in the process that holds TensorFlow; making it anew would take seconds each time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.cache import Space, SpaceKey
from tasks.core import classifier
from tasks.core.backbone import Backbone, build, relative_error
from tasks.core.backbone import forward as fold
from tasks.core.errors import RadtrainError
from tasks.core.out_of_memory import Need
from tasks.core.profile import Augmentation, Profile
from tasks.feature_spaces import BackboneKey

if TYPE_CHECKING:
    import keras

#: Relative error of features in bfloat16 against float32 that is let pass: the format keeps 8 bits, 1 part in 256,
#: and the roundings of a hundred layers partly cancel (0.005 for DenseNet121, docs/LOG.md).
BFLOAT16_ERROR = 0.02
_precision_error: dict[BackboneKey, float] = {}


class PrecisionError(RadtrainError):
    """Features in bfloat16 are not those in float32."""

    def __init__(self, error: float) -> None:
        super().__init__(
            "The backbone gives other features in bfloat16 than in float32.",
            where="profiles.toml, key precision",
            expected=f"a relative error of at most {BFLOAT16_ERROR:g}",
            received=f"{error:.3g}",
            fix='--set precision="float32"',
        )


@functools.lru_cache(maxsize=64)
def space(key: SpaceKey) -> Space:
    """Return an open space of the cache."""
    return key.open()


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A backbone, and the values of its tail's variables before any training."""

    backbone: Backbone
    tail: list[np.ndarray]


@functools.lru_cache(maxsize=2)  # a student and its teacher
def _fresh(key: BackboneKey) -> _Fresh:
    weights = None if key.weights is None else Path(key.weights)
    built = build(
        key.name,
        side=key.side,
        alpha=key.alpha,
        weights=weights,
        trainable_layers=key.trainable_layers,
    )
    tail = [] if built.tail is None else [variable.numpy().copy() for variable in built.tail.variables]
    return _Fresh(built, tail)


def backbone(key: BackboneKey) -> Backbone:
    """Return a backbone; its tail has whatever weights the last training left in it."""
    return _fresh(key).backbone


@functools.lru_cache(maxsize=1)
def forward(key: BackboneKey, dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the trunk as a function; `core.backbone.forward` says what it takes."""
    return fold(backbone(key).trunk, precision=key.precision, dtype=dtype)


def check_precision(key: BackboneKey, dtype: str, squares: np.ndarray) -> float:
    """Return the relative error of features in bfloat16, found once for a backbone; 0 where it runs in float32.

    Raises:
        PrecisionError: it is too large.
    """
    if key.precision == "float32":
        return 0.0
    error = _precision_error.get(key)
    if error is None:
        exact = fold(backbone(key).trunk, precision="float32", dtype=dtype)
        error = relative_error(forward(key, dtype)(squares), exact(squares))
        _precision_error[key] = error
    if error > BFLOAT16_ERROR:
        raise PrecisionError(error)
    return error


@dataclass(frozen=True, slots=True)
class Trainee:
    """A model that can be trained, kept because tracing its training step is slow: whoever takes it restarts it.

    Attributes:
        backbone: that it follows, and whose tail it trains.
        head: on pooled features.
        model: tail and head.
        tail: values of the tail's variables before any training.
        need: memory that its training takes.
    """

    backbone: Backbone
    head: keras.Model
    model: keras.Model
    tail: list[np.ndarray]
    need: Need

    def restart(self, figures: Profile, *, prevalence: float, seed: int) -> None:
        """Put it back to its beginning."""
        channels = self.head.input_shape[-1]
        fresh = classifier.build_head(figures, channels=channels, prevalence=prevalence, seed=seed)
        classifier.restart(self.model, [*self.tail, *(variable.numpy() for variable in fresh.variables)])


def trainee(key: BackboneKey, figures: Profile) -> Trainee:
    """Return the model of a profile; profiles that differ in nothing that it is made of share it."""
    same = figures.model_copy(update={"augmentation": Augmentation()})
    return _trainee(key, same)  # pyright: ignore[reportArgumentType] - frozen models hash


@functools.lru_cache(maxsize=2)
def _trainee(key: BackboneKey, figures: Profile) -> Trainee:
    fresh = _fresh(key)
    tail = fresh.backbone.tail
    channels = fresh.backbone.shape[0] if tail is None else tail.output_shape[-1]
    head = classifier.build_head(figures, channels=channels, prevalence=0.5, seed=0)
    model = classifier.attach(tail, head)
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)
    need = Need(classifier.step_bytes(tail, head), trained)
    return Trainee(fresh.backbone, head, model, fresh.tail, need)
