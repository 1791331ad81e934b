"""What a profile costs on one disease, and which of several is worth its price.

In: what was measured of runs. Out: a record, its median over runs, and the front of those that no other beats.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: Seconds and AUROC.
Point = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one profile costs on one disease, measured; None where it is not known.

    Attributes:
        training_s: seconds of training, features excluded.
        features_s: seconds of extracting the features it is trained on.
        parameters: of the whole model.
        trainable_parameters: of them, those that training changes.
        file_bytes: of the model's file.
        peak_bytes: most memory that was held while training.
        latency_s: median seconds for one image.
        latency_repeats: number of images timed for it.
        images_per_s: throughput in batches.
    """

    training_s: float | None = None
    features_s: float | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    file_bytes: int | None = None
    peak_bytes: int | None = None
    latency_s: float | None = None
    latency_repeats: int | None = None
    images_per_s: float | None = None

    @property
    def seconds(self) -> float | None:
        """Seconds from pixels to a trained model, features included; None where training was not timed."""
        return None if self.training_s is None else self.training_s + (self.features_s or 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return every figure, None where unknown or not finite."""
        return {name: finite(value) for name, value in dataclasses.asdict(self).items()}


def typical_cost(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure over the runs that know it; of an even number the lower of the middle two."""
    figures: dict[str, Any] = {}
    for name in (one.name for one in dataclasses.fields(Cost)):
        known = [value for cost in costs if (value := finite(getattr(cost, name))) is not None]
        figures[name] = statistics.median_low(known) if known else None
    return Cost(**figures)


def pareto(points: Sequence[Point]) -> tuple[bool, ...]:
    """Say which points are on the front: no other is at least as fast and as good, and better in one of the two.

    Args:
        points: (seconds, AUROC) of each; one with an unknown or NaN part is never on the front.
    """
    known = {(s, a) for s, a in points if s is not None and a is not None and math.isfinite(s + a)}
    front = {
        (seconds, auroc)
        for seconds, auroc in known
        if not any(s <= seconds and a >= auroc and (s, a) != (seconds, auroc) for s, a in known)
    }
    return tuple(point in front for point in points)


def finite(value: float | None) -> float | None:
    """Return the value, None where it is NaN or infinite: JSON has neither."""
    return value if value is not None and math.isfinite(value) else None
