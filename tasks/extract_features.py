"""Stage: pixels -> features. The frozen trunk runs once per image and variant, for all diseases together, ever.

In: which images are wanted in which spaces of the cache. Out: the cache holds a sound row for each, and how many it
held before.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from data_checks.images.image_facts import MAX_PIXELS, decode
from tasks.cache import Space, SpaceKey
from tasks.compute import Embedded, embed, give_back_memory
from tasks.core.errors import DataNotFound, StorageError
from tasks.core.pixels import shrink
from tasks.feature_spaces import FeatureSpaces
from tasks.progress import report
from tasks.worker import Worker

#: Of the disk, left free for databases, models and whatever else needs some.
_RESERVE = 2**30


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was done.

    Attributes:
        rows: that were wanted: pairs of an image and a variant.
        images: distinct ones among them.
        computed: rows computed now, by image.
        duration_s: seconds of the stage.
        embedded: what each block of rows cost.
    """

    rows: int
    images: int
    computed: Mapping[str, int]
    duration_s: float
    embedded: tuple[Embedded, ...]

    def costs(self) -> dict[str, float]:
        """Return what is logged of it."""
        count = sum(self.computed.values())
        said = {
            "features/duration_s": self.duration_s,
            "features/images": self.images,
            "features/rows": self.rows,
            "features/rows_computed": count,
            "features/images_computed": len(self.computed),
        }
        if self.embedded:
            compute_s = sum(e.duration_s for e in self.embedded)
            said["features/compute_s"] = compute_s
            said["features/images_per_s"] = count / max(compute_s, 1e-9)
            said["features/peak_memory_mib"] = max(e.peak_memory_bytes for e in self.embedded) / 2**20
            said["features/bfloat16_error"] = max(e.error for e in self.embedded)
        return said

    def cached_share(self, images: Collection[str]) -> float:
        """Return which share of these images had all of their features before, 0-1."""
        return 1.0 - sum(image in self.computed for image in images) / max(1, len(images))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one disease needs before it is trained.

    Attributes:
        spaces: of the cache.
        features: which images must be in which of them.
        pixels: images whose pixels training itself reads.
    """

    spaces: FeatureSpaces
    features: Mapping[SpaceKey, Collection[str]]
    pixels: Collection[str]


@task(name="extract-features", cache_policy=NO_CACHE)
def extract_features(
    worker: Worker, root: Path, paths: Mapping[str, str], wanted: list[Wanted], *, limit: int
) -> Extraction:
    """See that every row that is wanted is in the cache, and sound.

    Args:
        worker: the process that holds TensorFlow.
        root: the data root.
        paths: one file of every distinct image (sha256), relative to the root.
        wanted: of every disease.
        limit: bytes that all spaces of the cache may take together.

    Raises:
        DataNotFound: an image that needs reading again is no longer what it was.
        PrecisionError: the trunk cannot run in bfloat16.
        StorageError: the home folder cannot be written, or has no room for the rows.
        WeightsNotFound: the weights do not fit the backbone.
    """
    began = time.perf_counter()
    rows, images, missing = _look_up(wanted)
    _require_room(wanted, missing, limit)
    total, done = sum(map(len, missing.values())), 0
    computed: dict[str, int] = {}
    embedded: list[Embedded] = []
    of_space = {space: some.spaces for some in wanted for space in some.features}
    for space, lost in missing.items():
        spaces = of_space[space]
        squares = spaces.pixels.open()
        for start in range(0, len(lost), space.block_rows()):
            block = lost[start : start + space.block_rows()]
            restore_pixels(squares, root, {image: paths[image] for image in squares.missing(block)})
            draw = spaces.drawn(space)
            asked = worker.ask_twice(None, embed, spaces.backbone, spaces.pixels, space, block, draw)
            if asked.death is not None:
                get_run_logger().warning(
                    "Features were computed twice: the first try ended by %s.", asked.death.cause
                )
            embedded.append(asked.value)
            computed.update({image: computed.get(image, 0) + 1 for image in block})
            done += len(block)
            report("features", done, total)
    for some in wanted:
        squares = some.spaces.pixels.open()
        restore_pixels(squares, root, {image: paths[image] for image in squares.missing(sorted(some.pixels))})
    if missing and not any(some.pixels for some in wanted):
        worker.tell(give_back_memory)
    return Extraction(rows, len(images), computed, time.perf_counter() - began, tuple(embedded))


def _look_up(wanted: list[Wanted]) -> tuple[int, set[str], dict[SpaceKey, list[str]]]:
    """Return how many rows are wanted, of which images, and which of them are missing in which space."""
    merged: dict[SpaceKey, set[str]] = {}
    for some in wanted:
        for space, images in some.features.items():
            merged.setdefault(space, set()).update(images)
    missing = {space: space.open().missing(sorted(images)) for space, images in merged.items()}
    rows = sum(map(len, merged.values()))
    return rows, set().union(*merged.values()), {space: lost for space, lost in missing.items() if lost}


def _require_room(wanted: list[Wanted], missing: Mapping[SpaceKey, list[str]], limit: int) -> None:
    """Raise StorageError where the rows to come would fill the disk, or pass what the cache may take."""
    if not missing:
        return
    folder = next(iter(missing)).folder
    needed = sum(space.row_bytes() * len(lost) for space, lost in missing.items())
    used = sum(path.stat().st_size for path in folder.parent.glob("*/*/*.block"))
    free = shutil.disk_usage(folder.parent).free - _RESERVE
    room = min(free, limit - used)
    if needed <= room:
        return
    variants = {space for some in wanted for space in some.spaces.variants}
    augmented = sum(space.row_bytes() * len(missing[space]) for space in variants if space in missing)
    fits = _variants_that_fit(wanted, room - (needed - augmented)) if augmented else 0
    way = f"--set augmentation_variants={fits} fits" if augmented else "radtrain cache prune --idle-days 7"
    if augmented and not fits:
        way = "--set augmentation_variants=0 computes them while training, and keeps none"
    bound = "the free disk" if free < limit - used else "RADTRAIN_CACHE_GIB"
    raise StorageError(
        "The features to be cached do not fit.",
        where=folder.parent,
        expected=f"at most {max(0, room) / 2**30:.2f} GiB more, by {bound}",
        received=f"{needed / 2**30:.2f} GiB",
        fix=f"{way}; or make room: radtrain cache prune, a larger RADTRAIN_CACHE_GIB, another --home DIR",
    )


def _variants_that_fit(wanted: list[Wanted], room: int) -> int:
    """Return how many variants of every training image there is room for: the fewer they are, the more images in each."""
    drawn: dict[tuple[int, SpaceKey], set[str]] = {}
    for some in wanted:
        variants = some.spaces.variants
        images = set().union(*(some.features.get(space, ()) for space in variants))
        for number, space in enumerate(variants):
            drawn.setdefault((number, space), set()).update(images)
    for (number, space), images in sorted(drawn.items(), key=lambda item: item[0][0]):
        there = space.open()
        room -= space.row_bytes() * sum(image not in there for image in images)
        if room < 0:
            return number
    return len(drawn)


def restore_pixels(squares: Space, root: Path, paths: Mapping[str, str]) -> None:
    """Decode again what the cache of pixels has lost, or never had at this side."""
    if not paths:
        return
    side = squares.shape[0]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = pool.map(lambda image: shrink(_decode_again(root, paths[image], image), side), paths)
        squares.put(list(paths), np.stack(list(rows)))


def _decode_again(root: Path, path: str, image: str) -> np.ndarray:
    try:
        data = (root / path).read_bytes()
    except OSError:
        data = b""
    if hashlib.sha256(data).hexdigest() != image:
        raise DataNotFound(
            "An image changed or vanished between the scan and its use.",
            where=f"image {image[:12]} below the data root",
            expected="the bytes that were scanned",
            received="other bytes" if data else "nothing",
            fix="run the same command again, when nobody writes to the folders",
        )
    return decode(data, max_pixels=MAX_PIXELS)
