"""Stage: recipe -> seconds, memory, AUROC. Each run has a process of its own, so that its peak of memory is its own.

In: what is run, on which pixels (they are seen to first, for no arm decodes an image). Out: how each step was timed,
and the AUROC of the validation rows.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.cache import SpaceKey
from tasks.core.laps import Timed
from tasks.core.levers import Run
from tasks.core.metrics import Estimate, measure
from tasks.extract_features import restore_pixels
from tasks.feature_spaces import BackboneKey
from tasks.store import image_paths, read_rows
from tasks.timing import Subject, time_run
from tasks.worker import fresh_worker, import_tensorflow


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """How a run was timed, and its AUROC; None where the weights were random, which says nothing of a recipe."""

    timed: Timed
    auroc: Estimate | None


@task(name="prepare-pixels", cache_policy=NO_CACHE)
def prepare_pixels(root: Path, manifest: Path, spaces: Collection[SpaceKey]) -> None:
    """See that the pixels of all training and validation images are cached at every side.

    Raises:
        DataNotFound: an image is no longer what it was.
        StorageError: the home folder cannot be written.
    """
    paths = image_paths(manifest)
    images = [image for split in ("train", "validation") for image in read_rows(manifest, split).images]
    for space in spaces:
        squares = space.open()
        restore_pixels(squares, root, {image: paths[image] for image in squares.missing(images)})


@task(name="measure-arm", task_run_name="measure {name}, pass {number}", cache_policy=NO_CACHE)
def measure_arm(
    name: str,  # noqa: ARG001 - in the name of the task's run
    number: int,  # noqa: ARG001
    run: Run,
    key: BackboneKey,
    pixels: SpaceKey,
    subject: Subject,
    log: Path,
) -> MeasuredRun:
    """Run one recipe once in a fresh process.

    Args:
        name: of the arm, for people.
        number: of the pass over all arms, from 1.
        run: what is trained.
        key: of its backbone.
        pixels: cache space with the pixels of all training and validation images.
        subject: on what.
        log: file that takes what TensorFlow says.

    Raises:
        TrainingDiverged: the loss is not finite.
        WorkerDied: the process was ended.
        StorageError: the home folder cannot be written.
    """
    with fresh_worker(log, import_tensorflow) as worker:
        timed = worker.ask(time_run, run, key, pixels, subject)
    if key.weights is None:
        return MeasuredRun(timed, None)
    rows = read_rows(subject.manifest, "validation")
    found = measure(rows.labels, timed.scores, rows.groups, threshold=0.5, seed=subject.seed)
    return MeasuredRun(timed, found["auroc"])
