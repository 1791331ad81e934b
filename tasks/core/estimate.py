"""How many seconds a run still takes: what was measured so far, and a guess for what has not begun.

In: how far each stage is. Out: seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.core.pace import duration

#: Seconds for one image (draw, scan, features) or one disease (train) on two cores, before any was measured.
GUESSED_S = {"draw": 1 / 60, "scan": 1 / 1200, "features": 1 / 350, "train": 1.0}


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a stage is: how many are done of how many, and the seconds since it began."""

    done: int
    total: int
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Course:
    """A training that is under way.

    Attributes:
        first: epochs that were done when it was first looked at.
        total: epochs that there are.
        began: when it was first looked at, seconds of a clock that nobody sets.
    """

    first: int
    total: int
    began: float

    def percent(self, done: int) -> float:
        """Return how much is done, 0-100."""
        return 100.0 * min(done, self.total) / self.total

    def sentence(self, done: int, now: float) -> str:
        """Say how far it is and, once an epoch was seen to end, how long it still takes at that pace."""
        here = f"epoch {done} of {self.total}"
        if done <= self.first:
            return here
        left = (self.total - done) * (now - self.began) / (done - self.first)
        return f"{here}, about {duration(left)} left"


def seconds_left(
    stages: Mapping[str, Stage], *, diseases: int, expected: Mapping[str, float] | None = None
) -> float:
    """Return an estimate of the seconds until the end of the run.

    A stage that has begun goes on at its own pace; one that has not is guessed: every image that is drawn will
    be scanned, and, where diseases are trained, every image that is scanned anew will need features, and every
    disease must be trained. A check by itself trains none: nothing comes after its scan.
    """
    drawn = stages["draw"].total if "draw" in stages else 0
    scanned = stages["scan"].total if "scan" in stages else drawn
    ahead = {"draw": 0, "scan": drawn, "features": scanned if diseases else 0, "train": diseases}
    left = 0.0
    for name, guess in GUESSED_S.items():
        stage = stages.get(name)
        if stage is None:
            left += (expected or {}).get(name, ahead[name] * guess)
        else:
            pace = stage.elapsed_s / stage.done if stage.done else guess
            left += (stage.total - stage.done) * pace
    return left
