"""The seven levers of the original training report: what each moves in a profile, and what it was said to gain.

In: the profile that one starts from, and the one that the levers lead to. Out: arms, one recipe each; and what of a
recipe is run on the images that there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks.core.errors import RadtrainError
from tasks.core.profile import Profile

#: Keys of the catalog: where one starts, and where the levers lead.
START, GOAL = "intensive", "fast"
SOURCE = "the training report of the original script, October 2025"
#: What the report claims of all seven together, from and to; its 15-20 minutes a model became 30-45 seconds.
CLAIMED_TOGETHER = (50, 100)
#: Of the report's images, kept for validation.
VALIDATION_SHARE = 0.15

#: Where the features of an image come from: the network runs for it in every step; it ran before, in the time that is
#: measured; it ran before that.
Features = Literal["live", "cold", "warm"]


@dataclass(frozen=True, slots=True)
class Lever:
    """One row of the report's table.

    Attributes:
        key: of metrics and JSON.
        title: for people.
        figures: of a profile, that it moves.
        claimed: how many times as fast training was said to become by it.
        note: what the claim is about, and what else moves with it.
    """

    key: str
    title: str
    figures: tuple[str, ...]
    claimed: float
    note: str

    def setting(self, profile: Profile) -> str:
        """Return what a profile has of it, in a few words."""
        return _said(self.key, profile)

    def is_moved(self, start: Profile, goal: Profile) -> bool:
        """Tell whether the two profiles differ in it."""
        return any(getattr(start, name) != getattr(goal, name) for name in self.figures)


#: In the order of the report's table, in which they are also added up.
LEVERS = (
    Lever(
        "architecture",
        "architecture",
        ("backbone", "alpha", "weights", "precision"),
        5.0,
        "seconds per image. Weights and arithmetic go with the network: bfloat16 is for those that bear it",
    ),
    Lever("image_side", "image size", ("image_side",), 4.0, "seconds per image"),
    Lever(
        "batch_size",
        "batch size",
        ("batch_size",),
        2.5,
        "steps for the same images, not the seconds that these take; frozen layers run in blocks of their own anyway",
    ),
    Lever("epochs", "epochs", ("epochs",), 1.7, "images seen; none of them is faster"),
    Lever(
        "steps_per_epoch",
        "steps per epoch",
        ("steps_per_epoch",),
        2.9,
        "images seen at the same batch size: with the larger batch the images of an epoch are nearly as many again",
    ),
    Lever("augmentation", "augmentation", ("augmentation",), 1.5, "seconds per image"),
    Lever(
        "freezing",
        "freezing",
        ("trainable_layers",),
        2.0,
        "seconds per image. Frozen layers run forward only in either profile, so that the pass backward is short",
    ),
)
_MOVED = frozenset(name for lever in LEVERS for name in lever.figures)


@dataclass(frozen=True, slots=True)
class Arm:
    """One recipe that is measured.

    Attributes:
        key: of JSON, and name of its MLflow run.
        title: for people.
        figures: of it, whole.
        features: where they come from.
    """

    key: str
    title: str
    figures: Profile
    features: Features = "live"


def flip(start: Profile, goal: Profile, levers: Iterable[Lever]) -> Profile:
    """Return a profile in which some levers stand where they lead to."""
    moved = {name: getattr(goal, name) for lever in levers for name in lever.figures}
    return start.model_copy(update=moved)


def alone(lever: Lever) -> str:
    """Return the key of the arm in which nothing but this lever is moved."""
    return f"alone-{lever.key}"


def so_far(lever: Lever) -> str:
    """Return the key of the arm in which this lever and all before it are moved."""
    return f"so-far-{lever.key}"


def arms(start: Profile, goal: Profile) -> tuple[Arm, ...]:
    """Return everything that is measured, in order: the start, each lever alone, all of them added up, the goal.

    The network runs for every image in every step of these, as in the report. Behind them stands what the report
    did not have: the start in float32, where it has another arithmetic, and both profiles on cached features.
    """
    live = start.model_copy(update={"augmentation_variants": 0})
    aim = goal.model_copy(update={"augmentation_variants": 0})
    found = [Arm(START, f"{START}, as it is", live)]
    found += [Arm(alone(lever), f"{lever.title} alone", flip(live, aim, [lever])) for lever in LEVERS]
    for count, lever in enumerate(LEVERS, 1):
        title = f"{lever.title}, and all before it"
        found.append(Arm(so_far(lever), title, flip(live, aim, LEVERS[:count])))
    found.append(Arm(GOAL, f"{GOAL}: {', '.join(rest(start, goal)) or 'nothing'} as well", aim))
    if live.precision != "float32":
        exact = live.model_copy(update={"precision": "float32"})
        found.append(Arm(f"{START}-float32", f"{START}, in float32", exact))
    for key, profile in ((START, start), (GOAL, goal)):
        if profile.augmentation.is_none() or profile.augmentation_variants:
            for features in ("cold", "warm"):
                found.append(Arm(f"{key}-cached-{features}", f"{key}, cached, {features}", profile, features))
    return tuple(found)


def rest(start: Profile, goal: Profile) -> list[str]:
    """Return the figures in which the profiles differ and that no lever moves."""
    names = [name for name in Profile.model_fields if name not in _MOVED and name != "augmentation_variants"]
    return [name for name in names if getattr(start, name) != getattr(goal, name)]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a recipe is run: on so many training images, at most so many epochs and steps in each (None: all)."""

    images: int
    epochs: int | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What is computed. Recipes that differ only in what they would do with more images come to the same run."""

    figures: Profile
    features: Features


def run_of(arm: Arm, limits: Limits) -> Run:
    """Return what is run of an arm."""
    figures = arm.figures
    steps = min(figures.steps_per_epoch, math.ceil(limits.images / figures.batch_size))
    cut: dict[str, Any] = {
        "epochs": min(figures.epochs, limits.epochs or figures.epochs),
        "steps_per_epoch": min(steps, limits.steps or steps),
    }
    return Run(figures.model_copy(update=cut), arm.features)


def distinct_runs(arms: Sequence[Arm], limits: Limits) -> dict[Run, list[Arm]]:
    """Return every run that the arms come to, once, with the arms that come to it, in their order."""
    found: dict[Run, list[Arm]] = {}
    for arm in arms:
        found.setdefault(run_of(arm, limits), []).append(arm)
    return found


def order_of_pass(runs: Sequence[Run], *, number: int, quick: bool) -> list[Run]:
    """Return the runs of a pass in their order: every second pass backwards, for a machine warms up, and tires.

    A quick look has one pass, and all of it is measured against its first run, which is run again in the middle and at
    the end: one bad moment then spoils one figure and not all of them.
    """
    order = list(runs) if number % 2 else list(runs)[::-1]
    if not quick:
        return order
    middle = len(order) // 2
    return [*order[:middle], order[0], *order[middle:], order[0]]


class TooFewImages(RadtrainError):
    """An arm would not have a step that can be measured."""


def check_steps(runs: Sequence[Run], *, images: int, disease: str) -> None:
    """See that each run has a full batch beside its very first one, which is not counted.

    Raises:
        TooFewImages: one has not.
    """
    for run in runs:
        batch = run.figures.batch_size
        full = min(run.figures.steps_per_epoch, images // batch) * run.figures.epochs
        if full < 2:
            raise TooFewImages(
                "There are too few images for one step that can be measured: the first one is not counted.",
                where=f"{disease}, training rows",
                expected=f"at least two full batches of {batch} in {run.figures.epochs} epoch(s)",
                received=f"{images} images, {full} such batch(es)",
                fix=f"--set batch_size={max(1, images // 2)}, or another disease (--disease KEY)",
            )


def _said(lever: str, profile: Profile) -> str:
    if lever == "architecture":
        width = "" if profile.alpha is None else f" {profile.alpha:g}"
        return f"{profile.backbone}{width}"
    if lever == "image_side":
        return f"{profile.image_side} px"
    if lever == "augmentation":
        moves = sum(bool(value) for value in profile.augmentation.model_dump().values())
        return f"{moves} kinds" if moves else "none"
    if lever == "freezing":
        return f"{profile.trainable_layers} trained" if profile.trainable_layers else "all frozen"
    return str(getattr(profile, lever))
