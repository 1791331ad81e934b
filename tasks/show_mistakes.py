"""What is shown of the most confident mistakes: the image as networks see it, and what each answer rests on.

In: the runs of two profiles on one disease, cached pixels, else the files below the data root. Out: `Mistake` records
whose pictures stay on this machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_checks.images.image_facts import MAX_PIXELS, UnreadableImage, decode
from data_checks.images.listing import UnreachableFile, read_file
from tasks.compare_models import explain_images
from tasks.core.mistakes import Mistake, confident_mistakes, heat_picture, thumbnail
from tasks.core.pixels import shrink
from tasks.core.settings import Settings
from tasks.find_runs import CompletedRun, Match
from tasks.plan_check import pixel_space
from tasks.run_folder import TRAINED
from tasks.store import image_paths
from tasks.worker import Worker

#: Squares by image.
_Squares = dict[str, np.ndarray]


def show_mistakes(
    worker: Worker, settings: Settings, match: Match, models: Sequence[Path]
) -> tuple[Mistake, ...]:
    """Return the most confident mistakes of either profile; of several seeds the newest run stands for its profile.

    An image that is neither in the cache nor, unchanged, below the data root has no picture.

    Args:
        worker: the process that holds TensorFlow.
        settings: where the home folder and the data root are.
        match: of one disease; its sides are not empty.
        models: folder of a model of the first and of the second profile's architecture.

    Raises:
        ComparisonRefused: a model cannot be loaded.
    """
    runs = [side[0] for side in match.sides]
    rows = runs[0].folder.rows
    scores = np.stack([run.folder.scores for run in runs])
    thresholds = (runs[0].folder.threshold, runs[1].folder.threshold)
    found = confident_mistakes(rows.labels, scores, thresholds)
    images = [rows.images[row] for row in found]
    files = _Files(settings, match.disease)
    squares = [_squares(files, run, images) for run in runs]
    heats = [
        _heats(worker, run, model, some, dict(zip(images, side[found], strict=True)))
        for run, model, some, side in zip(runs, models, squares, scores, strict=True)
    ]
    largest = max(squares, key=lambda some: max((square.shape[0] for square in some.values()), default=0))
    said = scores >= np.array(thresholds)[:, None]
    return tuple(
        Mistake(
            disease=match.disease,
            image=image[:12],
            label=int(rows.labels[row]),
            scores=(float(scores[0, row]), float(scores[1, row])),
            thresholds=thresholds,
            wrong=(bool(said[0, row] != rows.labels[row]), bool(said[1, row] != rows.labels[row])),
            thumbnail=thumbnail(largest[image]) if image in largest else None,
            heat=(_drawn(image, largest, heats[0]), _drawn(image, largest, heats[1])),
        )
        for row, image in zip(found, images, strict=True)
    )


class _Files:
    """Finds the files of images below the data root, by the manifests of a disease."""

    def __init__(self, settings: Settings, disease: str) -> None:
        self.home, self.root, self._disease = settings.home, settings.data, disease
        self._paths: dict[str, str] | None = None

    def decoded(self, image: str) -> np.ndarray | None:
        """Return (height, width) uint8 gray pixels; None where the file is not there, or no longer what it was."""
        if self.root is None:
            return None
        if self._paths is None:
            manifests = (self.home / "manifests").glob(f"{self._disease}-*.parquet")
            self._paths = {image: path for one in manifests for image, path in image_paths(one).items()}
        if image not in self._paths:
            return None
        try:
            data = read_file(self.root, self._paths[image])
            return decode(data, max_pixels=MAX_PIXELS) if hashlib.sha256(data).hexdigest() == image else None
        except (UnreachableFile, UnreadableImage):
            return None


def _squares(files: _Files, run: CompletedRun, images: list[str]) -> _Squares:
    """Return the images as the network of a run sees them; those that cannot be had are left out."""
    figures = run.plan.figures
    space = pixel_space(files.home, figures).open()
    missing = space.missing(images)
    cached = [image for image in images if image not in missing]
    squares = dict(zip(cached, space.read(cached), strict=True))
    for image in missing:
        gray = files.decoded(image)
        if gray is not None:
            squares[image] = shrink(gray, figures.image_side)
    return squares


def _heats(
    worker: Worker, run: CompletedRun, model: Path, squares: _Squares, scores: dict[str, float]
) -> dict[str, np.ndarray]:
    """Return the map of each image of what speaks for the answer that the run gave at its operating point."""
    if not squares:
        return {}
    signs = np.array([1 if scores[image] >= run.folder.threshold else -1 for image in squares], np.float32)
    stacked = np.stack(list(squares.values()))
    _, maps = worker.ask(explain_images, model, run.folder.path / TRAINED, stacked, signs)
    return dict(zip(squares, maps, strict=True))


def _drawn(image: str, squares: _Squares, heats: dict[str, np.ndarray]) -> bytes | None:
    return heat_picture(squares[image], heats[image]) if image in heats and image in squares else None
