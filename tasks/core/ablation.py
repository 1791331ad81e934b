"""The speed ablation: what each lever of the training report gains, measured, beside what was claimed for it.

In: arms and what is typical of each. Out: the report's own table with a measured column, a sentence, JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.laps import Timed, Typical, typical
from tasks.core.levers import (
    CLAIMED_TOGETHER,
    GOAL,
    LEVERS,
    SOURCE,
    START,
    VALIDATION_SHARE,
    Arm,
    Lever,
    Run,
    alone,
    so_far,
)
from tasks.core.metrics import Estimate
from tasks.core.profile import Profile


@dataclass(frozen=True, slots=True)
class Size:
    """How many images a data set has for training and for validation."""

    train: int
    validation: int


def report_size(start: Profile) -> Size:
    """Return the size of the report's data set: the steps of its intensive recipe were all of the training images."""
    train = start.steps_per_epoch * start.batch_size
    return Size(train, round(train * VALIDATION_SHARE / (1 - VALIDATION_SHARE)))


@dataclass(frozen=True, slots=True)
class Measured:
    """An arm and what was found.

    Attributes:
        arm: what it is.
        typical: of the run that it comes to on these images.
        shared_with: key of an earlier arm that comes to the same run, and was not run again.
        auroc: of validation rows, which chose the epoch: it flatters; None where the weights were random.
    """

    arm: Arm
    typical: Typical
    shared_with: str | None
    auroc: Estimate | None

    def seconds(self, size: Size) -> float:
        """Return what the whole recipe takes on so many images: seconds per image times images, and extraction."""
        figures, found = self.arm.figures, self.typical
        trained = min(figures.steps_per_epoch * figures.batch_size, size.train)
        scored = min(figures.validation_steps * figures.batch_size, size.validation)
        fit = figures.epochs * (trained * found.image_s + scored * found.scored_image_s)
        if self.arm.features != "cold":
            return fit
        variants = min(figures.epochs, figures.augmentation_variants)
        rows = size.train if figures.augmentation.is_none() else variants * trained
        return fit + (rows + size.validation) * found.extracted_image_s

    def images(self, size: Size) -> int:
        """Return how many images the whole recipe trains on, each as often as it comes."""
        figures = self.arm.figures
        return figures.epochs * min(figures.steps_per_epoch * figures.batch_size, size.train)

    def seconds_here(self) -> float:
        """Return what was run on these images took, extraction included."""
        return self.typical.fit_s + self.typical.extraction_s


@dataclass(frozen=True, slots=True)
class Ground:
    """On what the arms were measured.

    Attributes:
        disease: key of the catalog.
        manifest: digest of its manifest.
        n_train: training images.
        n_validation: validation images.
        seed: of batches and initial weights.
        quick: whether only a few steps were taken.
        passes: over all arms.
        cores: usable ones.
        processor: its name, empty where it is not told.
        load: processes that wanted to run before the first arm; None where it is not told.
    """

    disease: str
    manifest: str
    n_train: int
    n_validation: int
    seed: int
    quick: bool
    passes: int
    cores: int
    processor: str
    load: float | None


@dataclass(frozen=True, slots=True)
class Ablation:
    """The whole result: the ground, every arm by its key, the MLflow run, the seconds of the flow."""

    ground: Ground
    arms: Mapping[str, Measured]
    run_id: str
    seconds: float

    @property
    def size(self) -> Size:
        """Of the report's data set."""
        return report_size(self.arms[START].arm.figures)

    def gain(self, key: str) -> float:
        """Return how many times as fast as the start the whole recipe of an arm is, at the report's size."""
        return self.arms[START].seconds(self.size) / self.arms[key].seconds(self.size)

    def gain_per_image(self, key: str) -> float:
        """Return the same for one image in a step of training."""
        return self.arms[START].typical.image_s / self.arms[key].typical.image_s

    def gain_of_processor(self, key: str) -> float:
        """Return the same in seconds of all cores together."""
        mine = self.arms[key].typical.processor_image_s
        return self.arms[START].typical.processor_image_s / max(mine, 1e-9)

    def levers(self) -> dict[str, dict[str, Any]]:
        """Return the report's table: what each lever was said to gain, and what it gains alone and added up."""
        start, goal = self.arms[START].arm.figures, self.arms[GOAL].arm.figures
        rows: dict[str, dict[str, Any]] = {}
        for count, lever in enumerate(LEVERS, 1):
            rows[lever.key] = {
                "title": lever.title,
                "from": lever.setting(start),
                "to": lever.setting(goal),
                "moved": lever.is_moved(start, goal),
                "claimed": lever.claimed,
                "measured": self.gain(alone(lever)),
                "measured_per_image": self.gain_per_image(alone(lever)),
                "so_far_claimed": math.prod(one.claimed for one in LEVERS[:count]),
                "so_far_multiplied": math.prod(self.gain(alone(one)) for one in LEVERS[:count]),
                "so_far_measured": self.gain(so_far(lever)),
                "note": _note(lever, self),
            }
        return rows

    def sentence(self) -> str:
        """Return the outcome in a few sentences, with what it does not say."""
        last = self.levers()[LEVERS[-1].key]
        ground, size = self.ground, self.size
        low, high = CLAIMED_TOGETHER
        said = [
            f"All seven levers were claimed to make training {low}-{high} times as fast, and their claims multiply to "
            f"{last['so_far_claimed']:.0f}; moved one by one they multiply to {last['so_far_multiplied']:.1f}, and "
            f"moved together they measure {last['so_far_measured']:.1f}, on {ground.cores} cores for a data set of "
            f"{size.train} images."
        ]
        if f"{START}-cached-cold" in self.arms:
            said.append(
                f"Cached features make {START} {self.gain(f'{START}-cached-cold'):.1f} times as fast the first time, "
                f"{self.gain(f'{START}-cached-warm'):.1f} times afterwards, with no lever moved."
            )
        if ground.quick:
            said.append(
                "A quick look: a few steps of each, so that these figures are rough and no model is good."
            )
        if ground.load is not None and ground.load > ground.cores:
            said.append(f"The machine was busy (load {ground.load:.1f}): measure again when it is quiet.")
        return " ".join(said)

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "run_id": self.run_id,
            "seconds": round(self.seconds, 3),
            "not_for_diagnosis": True,
            **{name: getattr(self.ground, name) for name in Ground.__slots__},
            "report_size": {"train": self.size.train, "validation": self.size.validation},
            "claims": SOURCE,
            "claimed_together": list(CLAIMED_TOGETHER),
            "sentence": self.sentence(),
            "levers": self.levers(),
            "arms": {key: self._arm(found) for key, found in self.arms.items()},
        }

    def _arm(self, found: Measured) -> dict[str, Any]:
        key = found.arm.key
        return {
            "title": found.arm.title,
            "features": found.arm.features,
            "shared_with": found.shared_with,
            "speedup": self.gain(key),
            "speedup_per_image": self.gain_per_image(key),
            "speedup_of_processor": self.gain_of_processor(key),
            "speedup_here": self.arms[START].seconds_here() / found.seconds_here(),
            "report_size_s": found.seconds(self.size),
            "report_size_images": found.images(self.size),
            "here_s": found.seconds_here(),
            **found.typical.to_json(),
            "validation_auroc": found.auroc.to_json() if found.auroc else None,
        }


def measured_arms(
    runs: Mapping[Run, Sequence[Arm]],
    timed: Mapping[Run, Sequence[Timed]],
    auroc: Mapping[Run, Estimate | None],
) -> dict[str, Measured]:
    """Return what was found of each arm, by its key.

    Args:
        runs: what the arms come to, with the arms that come to it.
        timed: of each run, its trainings.
        auroc: of each run, that of its first training; None where the weights were random.
    """
    found: dict[str, Measured] = {}
    for run, arms in runs.items():
        common = typical(timed[run], batch_size=run.figures.batch_size)
        for arm in arms:
            shared = None if arm is arms[0] else arms[0].key
            found[arm.key] = Measured(arm, common, shared, auroc[run])
    return found


def _note(lever: Lever, found: Ablation) -> str:
    """Return what must be said of a row."""
    if not lever.is_moved(found.arms[START].arm.figures, found.arms[GOAL].arm.figures):
        return "the same in both profiles: not a lever here"
    exact = f"{START}-float32"
    if lever.key == "architecture" and exact in found.arms:
        other = found.arms[alone(lever)]
        ratio = found.arms[exact].typical.image_s / other.typical.image_s
        if other.arm.figures.precision == "float32":
            return f"{lever.note}; float32 against float32 it is {ratio:.1f} per image"
    return lever.note
