"""What the worker can be asked for a comparison: how fast two models answer, and what their answers rest on.

A model is loaded once for an architecture; for each disease its trained weights are put into it.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.core.errors import ComparisonRefused, first_line
from tasks.core.grad_cam import halves
from tasks.core.pixels import shrink
from tasks.model_folder import load_model

if TYPE_CHECKING:
    import keras

#: px of the square gray image whose answer is timed; shrinking it is part of the time.
IMAGE_SIDE = 1024
#: Images in a batch, for the throughput.
BATCH = 32
#: Rounds at most and at least, and the seconds after which no further one is begun.
_SINGLE, _BATCHES = (50, 10, 3.0), (5, 3, 3.0)


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a model answers.

    Attributes:
        latency_s: median seconds from one gray image to its score.
        latency_repeats: images timed for it.
        images_per_s: from gray images to their scores in batches of `BATCH`: by the median batch.
    """

    latency_s: float
    latency_repeats: int
    images_per_s: float


def time_models(models: Sequence[Path]) -> list[Speed]:
    """Time models in turn, so that whatever else the machine does meanwhile slows all of them alike.

    The first answer of each is slow, for functions are traced in it; the median leaves it out. They compute in float32,
    with all threads that TensorFlow takes.

    Args:
        models: folders that `save_model` wrote.
    """
    answers = [_served(model).answer for model in models]
    image = np.random.default_rng(0).integers(0, 256, (IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    single, batches = (
        _in_turn(answers, [image] * n, rounds) for n, rounds in ((1, _SINGLE), (BATCH, _BATCHES))
    )
    return [
        Speed(statistics.median(one), len(one), BATCH / statistics.median(many))
        for one, many in zip(single, batches, strict=True)
    ]


def explain_images(
    model: Path, trained: Path, squares: np.ndarray, signs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of images and Grad-CAM maps of what speaks for the disease, or against it.

    Args:
        model: folder of a model of this architecture.
        trained: its weights, as training left them: `trained.npz`.
        squares: (n, side, side) uint8 gray pixels.
        signs: (n,) 1 for the disease, -1 against it.

    Returns:
        Scores (n,) float32 and maps (n, height, width) float32, 0-1.
    """
    served = _served(model)
    put_weights(served.model, trained)
    return served.halves.explain(squares, signs)


def put_weights(model: keras.Model, trained: Path) -> None:
    """Put trained weights into a whole model: those of tail and head, which are its last ones.

    Raises:
        ValueError: they are not of this architecture.
    """
    with np.load(trained) as arrays:
        values = [arrays[name] for name in arrays.files]
    variables = model.weights[-len(values) :]
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise ValueError(
            f"Expected weights of {model.name}'s last {len(shapes)} variables. Received: {len(values)} others."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


class _Served:
    """A loaded model, and the functions that it is called by."""

    def __init__(self, folder: Path) -> None:
        try:
            self.model = load_model(folder)
        except ValueError as error:
            raise ComparisonRefused(
                "The model of a run cannot be loaded.",
                where=folder,
                expected="a Keras model, as training left it",
                received=first_line(error),
                fix="train this profile again on this disease",
            ) from error
        self.halves = halves(self.model)

    def answer(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the scores of gray images of any size."""
        side = self.model.input_shape[1]
        return self.halves.score(np.stack([shrink(image, side) for image in images]))


@functools.lru_cache(maxsize=2)
def _served(folder: Path) -> _Served:
    return _Served(folder)


def _in_turn(
    answers: Sequence[Callable[[Sequence[np.ndarray]], np.ndarray]],
    images: Sequence[np.ndarray],
    rounds: tuple[int, int, float],
) -> list[list[float]]:
    """Return the seconds of each answer of each model; every round asks all of them once."""
    most, least, limit = rounds
    seconds: list[list[float]] = [[] for _ in answers]
    began = time.perf_counter()
    for number in range(most):
        if number >= least and time.perf_counter() - began > limit:
            break
        for answer, taken in zip(answers, seconds, strict=True):
            start = time.perf_counter()
            answer(images)
            taken.append(time.perf_counter() - start)
    return seconds
