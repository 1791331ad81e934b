"""Stage: pixels -> features. The frozen backbone runs once per distinct image, for all diseases together, ever.

In: the images of all manifests, and the cache. Out: the cache holds a sound row for each, and how many it held
before.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_checks.images.image_facts import MAX_PIXELS, decode
from tasks.cache import BLOCK_ROWS, Space
from tasks.core.errors import DataNotFound
from tasks.core.pixels import shrink
from tasks.progress import report
from tasks.worker import BackboneKey, SpaceKey, Worker, embed, give_back_memory


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was done: distinct images, those computed now, seconds of computing, the worker's peak memory."""

    images: int
    computed: frozenset[str]
    duration_s: float
    peak_memory_bytes: int

    def costs(self) -> dict[str, float]:
        """Return what is logged of it."""
        said = {
            "features/duration_s": self.duration_s,
            "features/images": self.images,
            "features/images_computed": len(self.computed),
        }
        if self.computed:
            said["features/images_per_s"] = len(self.computed) / max(self.duration_s, 1e-9)
            said["features/peak_memory_mib"] = self.peak_memory_bytes / 2**20
        return said

    def cached_share(self, images: Sequence[str]) -> float:
        """Return which share of these images had features before, 0-1."""
        return 1.0 - len(self.computed.intersection(images)) / max(1, len(images))


@task(name="extract-features", cache_policy=NO_CACHE)
def extract_features(
    worker: Worker,
    root: Path,
    paths: Mapping[str, str],
    key: BackboneKey,
    pixels: SpaceKey,
    features: SpaceKey,
) -> Extraction:
    """See that every image has a sound row of features in the cache.

    Args:
        worker: the process that holds TensorFlow.
        root: the data root.
        paths: one file of every distinct image (sha256), relative to the root.
        key: the backbone.
        pixels: cache space of the shrunk images.
        features: cache space to fill.

    Raises:
        DataNotFound: an image that needs reading again is no longer what it was.
        StorageError: the home folder cannot be written.
        WeightsNotFound: the weights do not fit the backbone.
    """
    began = time.perf_counter()
    images = sorted(paths)
    missing = features.open().missing(images)
    memory = 0
    squares = pixels.open()
    for start in range(0, len(missing), BLOCK_ROWS):
        block = missing[start : start + BLOCK_ROWS]
        _restore_pixels(squares, root, {image: paths[image] for image in squares.missing(block)})
        memory = worker.ask(embed, key, pixels, features, block)
        report("features", start + len(block), len(missing))
    if missing:
        worker.tell(give_back_memory)
    return Extraction(len(images), frozenset(missing), time.perf_counter() - began, memory)


def _restore_pixels(squares: Space, root: Path, paths: Mapping[str, str]) -> None:
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
