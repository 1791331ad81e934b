"""How many seconds a run still takes: what was measured so far, and a guess for what has not begun.

In: how far each stage is. Out: seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Seconds for one image (draw, scan, features) or one disease (train) on two cores, before any was measured.
GUESSED_S = {"draw": 1 / 60, "scan": 1 / 1200, "features": 1 / 350, "train": 1.0}


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a stage is: how many are done of how many, and the seconds since it began."""

    done: int
    total: int
    elapsed_s: float


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
