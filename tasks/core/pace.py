"""How long a training will take: what one image and one step cost on this machine, times how many there are.

In: measured seconds, and the work. Out: expected seconds, and the steps that a time limit leaves room for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tasks.core.errors import TimeLimitTooShort

#: Seconds that a disease takes besides: scoring, resampling, figures, its model's file, MLflow (docs/LOG.md).
DISEASE_S = 2.0
#: Of a time limit, kept back: a shared machine is not always as fast as it was when it was measured.
MARGIN = 0.1
#: Of what a run is expected to take, what one training may: ten times is no bad moment of a machine any more.
_PATIENCE = 10
#: Seconds that any training may take, and those that a step of one may of which nothing is expected (0.005, docs/LOG.md).
_LEAST_S, _STEP_S = 600.0, 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured on this machine.

    Attributes:
        image_s: seconds for an image through the trunk, moved about or not.
        step_s: for a step of training.
        score_s: for scoring an image whose features are there.
        once_s: for tracing trunk and step, and for checking bfloat16, once in a run.
    """

    image_s: float
    step_s: float
    score_s: float
    once_s: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the rest of a run is expected to take.

    Attributes:
        features_s: seconds of computing features.
        training_s: of all steps.
        rest_s: of tracing, scoring, figures, files and records.
        rows: images and variants whose features are computed.
        steps: of training.
    """

    features_s: float
    training_s: float
    rest_s: float
    rows: int
    steps: int

    @property
    def seconds(self) -> float:
        """All together."""
        return self.features_s + self.training_s + self.rest_s

    def costs(self) -> dict[str, float]:
        """Return what is logged of it."""
        return {"expected_s": self.seconds}

    def sentence(self) -> str:
        """Return it for people."""
        return (
            f"about {duration(self.seconds)}: {self.rows} images and variants through the frozen layers "
            f"({duration(self.features_s)}), {self.steps} steps of training ({duration(self.training_s)}), "
            f"scores and files ({duration(self.rest_s)})"
        )


def training_limit_s(forecast: Forecast | None, *, steps: int) -> float:
    """Return the seconds after which a training is taken to hang.

    Args:
        forecast: of the run; None where it was too little to be worth measuring.
        steps: of the training.
    """
    expected = steps * _STEP_S if forecast is None else _PATIENCE * forecast.seconds
    return max(_LEAST_S, expected)


def steps_that_fit(forecast: Callable[[int], Forecast], *, most: int, limit_s: float, spent_s: float) -> int:
    """Return the largest number of steps in an epoch, up to `most`, with which a run keeps a time limit.

    Args:
        forecast: of a run with so many steps in an epoch; more steps never take less.
        most: steps that the profile wants.
        limit_s: seconds that the run may take.
        spent_s: of them, those that have gone.

    Raises:
        TimeLimitTooShort: one step is too many.
    """
    left = limit_s * (1 - MARGIN) - spent_s
    if forecast(1).seconds > left:
        needed = (forecast(1).seconds + spent_s) / (1 - MARGIN)
        raise _too_short(limit_s, needed)
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        if forecast(middle).seconds <= left:
            low = middle
        else:
            high = middle - 1
    return low


def _too_short(limit_s: float, needed_s: float) -> TimeLimitTooShort:
    minutes = max(0.1, -(-needed_s // 6) / 10)
    return TimeLimitTooShort(
        "The time limit is too short for one step of training in each epoch.",
        where="--time-limit",
        expected=f"at least {minutes:g} minutes",
        received=f"{limit_s / 60:g} minutes",
        fix=f"--time-limit {minutes:g}, fewer diseases, or a profile that costs less",
    )


def duration(seconds: float) -> str:
    """Return seconds as people say them: `45 s`, `3.5 min`, `2.1 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
