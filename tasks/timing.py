"""What a worker of its own is asked to do for the speed ablation: train one recipe and time every step of it.

In: a recipe, cached pixels and a manifest. Out: what each step took, the scores of the validation rows, the memory.
Test rows are not read.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tasks import loaded
from tasks.cache import SpaceKey
from tasks.compute import describe_features, embed, peak_memory_bytes
from tasks.core import fitting
from tasks.core.laps import Mark, Timed, laps
from tasks.core.levers import Run
from tasks.core.profile import Augmentation
from tasks.feature_spaces import BackboneKey, FeatureSpaces, feature_spaces
from tasks.files import writing
from tasks.inputs import Inputs, plain_inputs, training_inputs
from tasks.store import read_rows

#: Images whose extraction is timed at once, at most; of few images, a quarter.
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Subject:
    """What every arm is trained on.

    Attributes:
        disease: key of the catalog.
        manifest: of the disease.
        seed: of batches, augmentation and initial weights.
        folder: for features of cached arms, made and removed here.
    """

    disease: str
    manifest: Path
    seed: int
    folder: Path


@dataclass(slots=True)
class _Stopwatch:
    """Notes when a training asks for the time, and for inputs. It keeps no state of it either: nothing is resumed."""

    marks: list[Mark] = field(default_factory=list)

    def clock(self) -> float:
        now = time.perf_counter()
        self.marks.append(Mark("epoch", now, time.process_time()))
        return now

    def watched(self, kind: Literal["step", "score"], inputs: Inputs) -> Inputs:
        """Return inputs that note when they are asked for."""

        def read(numbers: np.ndarray, epoch: int) -> np.ndarray:
            self.marks.append(Mark(kind, time.perf_counter(), time.process_time(), len(numbers)))
            return inputs(numbers, epoch)

        return read

    def load(self) -> fitting.State:
        return fitting.State()

    def save(self, state: fitting.State) -> None:
        """Keep nothing: what a training writes to disk is not what the levers are about."""


def time_run(run: Run, key: BackboneKey, pixels: SpaceKey, subject: Subject) -> Timed:
    """Train as a run says, from cached pixels, and return what it took; the building of the network is not counted.

    Args:
        run: what is trained, and where its features come from.
        key: of its backbone.
        pixels: cache space with the pixels of all training and validation images.
        subject: on what.

    Raises:
        TrainingDiverged: the loss is not finite.
        PrecisionError: features are cached, and the trunk cannot run in bfloat16.
        StorageError: the folder cannot be written.
    """
    imported = _peak_bytes()
    figures = run.figures
    train, validation = (read_rows(subject.manifest, split) for split in ("train", "validation"))
    cache = subject.folder / hashlib.sha256(figures.model_dump_json().encode()).hexdigest()[:16]
    spaces = feature_spaces(cache, pixels, key, describe_features(key), figures)
    loaded.space(pixels).refresh()
    extracted: list[tuple[float, int]] = []
    if run.features == "live":
        spaces = replace(spaces, live=True)
        as_they_are = replace(spaces, augmentation=Augmentation())
        scored = training_inputs(as_they_are, validation.images, figures, subject.seed)
    else:
        if run.features == "cold":
            with writing(cache):
                shutil.rmtree(cache, ignore_errors=True)
            wanted = spaces.wanted(train.images, validation.images, figures=figures, seed=subject.seed)
            extracted = list(_extract(spaces, wanted))
        scored = plain_inputs(spaces.plain, validation.images)
    trainee = loaded.trainee(key, figures)
    prevalence = 0.5 if figures.class_weights == "balanced" else float(train.labels.mean())
    trainee.restart(figures, prevalence=prevalence, seed=subject.seed)
    watch = _Stopwatch()
    trained = training_inputs(spaces, train.images, figures, subject.seed)
    fitting.fit(
        trainee.model,
        fitting.Rows(train.labels, watch.watched("step", trained)),
        fitting.Rows(validation.labels, watch.watched("score", scored)),
        figures=figures,
        seed=subject.seed,
        disease=subject.disease,
        clock=watch.clock,
        checkpoints=watch,
    )
    peak = _peak_bytes()
    rows = fitting.Rows(validation.labels, scored)
    model = trainee.model
    return Timed(
        laps=laps(watch.marks),
        extracted=sum(images for _, images in extracted),
        extraction_s=sum(seconds for seconds, _ in extracted),
        extracted_image_s=_typical(extracted),
        scores=fitting.predict(model, rows, batch_size=figures.batch_size),
        parameters=int(loaded.backbone(key).trunk.count_params() + model.count_params()),
        trainable_parameters=int(sum(np.prod(w.shape) for w in model.trainable_variables)),
        imported_bytes=imported,
        peak_bytes=peak,
    )


def _extract(spaces: FeatureSpaces, wanted: dict[SpaceKey, set[str]]) -> Iterator[tuple[float, int]]:
    """Cache the features that are wanted; yield seconds and images of each block."""
    for space, images in wanted.items():
        rows = sorted(images)
        size = max(1, min(_BLOCK, len(rows) // 4))
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            spent = embed(spaces.backbone, spaces.pixels, space, block, spaces.drawn(space))
            yield spent.duration_s, len(block)


def _typical(extracted: list[tuple[float, int]]) -> float:
    """Return the median seconds for an image; the first block, which also folds the network, counts only alone."""
    return statistics.median(seconds / images for seconds, images in extracted[1:] or extracted or [(0.0, 1)])


def _peak_bytes() -> int:
    """Return the largest resident size that this program has had.

    Linux counts in `ru_maxrss` also what the process was before it became this program: its parent's copy.
    """
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) * 1024 if found else peak_memory_bytes()
