"""Laps: what each step and each epoch of a training took, from marks made while it ran.

In: marks of a clock. Out: laps, one for each epoch, and what is typical of them. Nothing is timed by itself:
a step ends where the next one begins, so that watching costs a training nothing.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np


class Mark(NamedTuple):
    """A moment: an epoch begins or ends, a batch of so many images is asked for to be trained on, or to be scored."""

    kind: Literal["epoch", "step", "score"]
    at_s: float
    processor_s: float
    images: int = 0


class Step(NamedTuple):
    """What a step took: seconds, seconds of all cores together, and its images."""

    duration_s: float
    processor_s: float
    images: int


@dataclass(frozen=True, slots=True)
class Lap:
    """One epoch.

    Attributes:
        duration_s: of all of it, scoring included.
        steps: of it.
        scoring_s: seconds of scoring the validation rows.
        scored: images that were scored.
    """

    duration_s: float
    steps: tuple[Step, ...]
    scoring_s: float
    scored: int


def laps(marks: Sequence[Mark]) -> tuple[Lap, ...]:
    """Return the laps that lie between pairs of marks of an epoch; what comes after the last pair is left out."""
    bounds = [n for n, mark in enumerate(marks) if mark.kind == "epoch"]
    return tuple(
        _lap(marks[first : last + 1]) for first, last in zip(bounds[::2], bounds[1::2], strict=False)
    )


def _lap(marks: Sequence[Mark]) -> Lap:
    steps = tuple(
        Step(after.at_s - mark.at_s, after.processor_s - mark.processor_s, mark.images)
        for mark, after in itertools.pairwise(marks)
        if mark.kind == "step"
    )
    scores = [mark for mark in marks if mark.kind == "score"]
    end = marks[-1].at_s
    scoring_s = end - scores[0].at_s if scores else 0.0
    return Lap(end - marks[0].at_s, steps, scoring_s, sum(mark.images for mark in scores))


@dataclass(frozen=True, slots=True, eq=False)
class Timed:
    """One training, timed.

    Attributes:
        laps: of its epochs.
        extracted: images and variants whose features were computed before it and cached.
        extraction_s: seconds of that.
        extracted_image_s: median seconds for one of them, without what comes once (0 where none was computed).
        scores: (n,) float32, 0-1, of the validation rows, by the best epoch.
        parameters: of the whole model.
        trainable_parameters: of them.
        imported_bytes: most memory that the process had held before it began: Python, TensorFlow.
        peak_bytes: most memory that it had held in the end.
    """

    laps: tuple[Lap, ...]
    extracted: int
    extraction_s: float
    extracted_image_s: float
    scores: np.ndarray
    parameters: int
    trainable_parameters: int
    imported_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Typical:
    """What is typical of a training that was timed once or more often; every figure a median.

    Attributes:
        step_s: of a full batch; the very first step of a training is left out, it traces.
        steps: that step_s rests on.
        image_s: of step_s, the part of one image.
        processor_image_s: for one image, of all cores together: other programs lengthen it less than image_s.
        epoch_s: of an epoch, scoring included; the first one is left out where there is another.
        epochs: that epoch_s rests on.
        epoch_images: trained on in such an epoch.
        scored_image_s: for an image that is scored after an epoch.
        fit_s: of all epochs of a training, the first steps included.
        extraction_s: of what was computed and cached before.
        extracted_image_s: for one image of it.
        extracted: images and variants.
        spread: how far the slowest training's median step lies above the fastest one's, as a share; None of one.
        trainings: that were timed.
        parameters: of the whole model.
        trainable_parameters: of them.
        imported_bytes: most memory held before it began.
        peak_bytes: most memory held.
    """

    step_s: float
    steps: int
    image_s: float
    processor_image_s: float
    epoch_s: float
    epochs: int
    epoch_images: int
    scored_image_s: float
    fit_s: float
    extraction_s: float
    extracted_image_s: float
    extracted: int
    spread: float | None
    trainings: int
    parameters: int
    trainable_parameters: int
    imported_bytes: int
    peak_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return every figure."""
        return {name: getattr(self, name) for name in self.__slots__}


def typical(timed: Sequence[Timed], *, batch_size: int) -> Typical:
    """Return what is typical of trainings of the same recipe.

    Args:
        timed: one or more; each has a full batch beside its first one.
        batch_size: images in a full batch.
    """
    steps = [_full_steps(one, batch_size) for one in timed]
    pooled = [step for some in steps for step in some]
    step_s = statistics.median(step.duration_s for step in pooled)
    medians = [statistics.median(step.duration_s for step in some) for some in steps]
    later = [lap for one in timed for lap in (one.laps[1:] or one.laps)]
    every = [lap for one in timed for lap in one.laps]
    return Typical(
        step_s=step_s,
        steps=len(pooled),
        image_s=step_s / batch_size,
        processor_image_s=statistics.median(step.processor_s for step in pooled) / batch_size,
        epoch_s=statistics.median(lap.duration_s for lap in later),
        epochs=len(later),
        epoch_images=sum(step.images for step in later[0].steps),
        scored_image_s=statistics.median(lap.scoring_s / max(1, lap.scored) for lap in every),
        fit_s=statistics.median(sum(lap.duration_s for lap in one.laps) for one in timed),
        extraction_s=statistics.median(one.extraction_s for one in timed),
        extracted_image_s=statistics.median(one.extracted_image_s for one in timed),
        extracted=timed[0].extracted,
        spread=max(medians) / min(medians) - 1 if len(timed) > 1 else None,
        trainings=len(timed),
        parameters=timed[0].parameters,
        trainable_parameters=timed[0].trainable_parameters,
        imported_bytes=max(one.imported_bytes for one in timed),
        peak_bytes=max(one.peak_bytes for one in timed),
    )


def _full_steps(timed: Timed, batch_size: int) -> list[Step]:
    steps = [step for lap in timed.laps for step in lap.steps]
    return [step for step in steps[1:] if step.images == batch_size]
