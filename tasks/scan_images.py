"""Stage: image folders -> facts. Each file is read and decoded once; a second scan reads only what changed.

In: the data root and the class folders. Out: a Parquet file with one row per file (contract: FACTS), and, as a
by-product of the one decoding, the shrunk pixels of every image that has no features yet.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_checks.contract import FACTS, schema
from data_checks.images.image_facts import MAX_PIXELS, measure
from data_checks.images.listing import Entry, UnreachableFile, list_files, read_bytes
from data_checks.reasons import UNREACHABLE
from tasks.cache import Space, SpaceKey
from tasks.core.pixels import shrink
from tasks.files import alone
from tasks.progress import report
from tasks.store import read_table, write_table

#: Files read ahead of the one that is waited for: bounds memory, and keeps every thread busy.
_AHEAD = 4
#: Facts are written so often while images are read, s.
_KEEP_EVERY_S = 60.0

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found: where the facts are, how many files there are, were read, and cannot be read; and the seconds."""

    facts: Path
    files: int
    read: int
    unreadable: int
    duration_s: float

    def costs(self) -> dict[str, float]:
        """Return what is logged of it."""
        said = {
            "scan/duration_s": self.duration_s,
            "scan/files": self.files,
            "scan/files_read": self.read,
            "scan/files_unreadable": self.unreadable,
        }
        if self.read:
            said["scan/images_per_s"] = self.read / max(self.duration_s, 1e-9)
        return said


@task(name="scan-images", cache_policy=NO_CACHE)
def scan_images(
    root: Path, folders: Sequence[str], facts: Path, pixels: SpaceKey | None, features: SpaceKey | None
) -> Scan:
    """Measure every file below the folders and write the facts.

    Args:
        root: the data root.
        folders: class folders, relative to the root.
        facts: where the facts of this root are kept; what they know already is not read again.
        pixels: cache space that takes the shrunk pixels; None keeps none.
        features: images that are in it need no pixels; None where nothing is known of features.

    Raises:
        StorageError: the home folder cannot be written.
    """
    began = time.perf_counter()
    sound = _known(facts)
    before = sound or {}
    rows: list[Row] = []
    changed: list[Entry] = []
    for entry in list_files(root, folders):
        known = before.get(entry.path)
        if known is not None and _is_current(known, entry):
            rows.append(known)
        else:
            changed.append(entry)
    measured = _measured(root, changed, pixels.shape[0] if pixels else None)
    kept = _keep_pixels(measured, pixels.open(), features) if pixels else (row for row, _ in measured)
    due = began + _KEEP_EVERY_S
    try:
        for done, row in enumerate(kept, start=1):
            rows.append(row)
            if done % 64 == 0 or done == len(changed):
                report("scan", done, len(changed))
                due = _kept_by_the_way(facts, rows, due)
    except BaseException:  # what was measured before a scan was stopped is not measured again
        _write(facts, rows, ())
        raise
    if sound is None or changed or len(rows) != sum(_below(path, folders) for path in before):
        _write(facts, rows, folders)
    read = sum(entry.unreachable is None for entry in changed)
    unreadable = sum(row["unreadable"] is not None for row in rows)
    return Scan(facts, len(rows), read, unreadable, time.perf_counter() - began)


def _kept_by_the_way(facts: Path, rows: list[Row], due: float) -> float:
    """Write what is measured so far where that is due, for a process may be killed; return when it is due again."""
    began = time.perf_counter()
    if began < due:
        return due
    _write(facts, rows, ())
    now = time.perf_counter()
    # A million rows take 20 s to write: no more than a twentieth of the time goes there.
    return now + max(_KEEP_EVERY_S, 20 * (now - began))


def _write(facts: Path, rows: list[Row], folders: Sequence[str]) -> None:
    """Write the facts.

    Args:
        facts: where.
        rows: that were measured.
        folders: of which they are all there is; what else is known, perhaps noted by another run just now, stays.
    """
    with alone(facts.with_suffix(".lock")):
        measured = {row["path"] for row in rows}
        elsewhere = [
            row
            for path, row in (_known(facts) or {}).items()
            if path not in measured and not _below(path, folders)
        ]
        ordered = sorted(rows + elsewhere, key=lambda row: row["path"])
        write_table(facts, pa.Table.from_pylist(ordered, schema(FACTS)))


def _known(facts: Path) -> dict[str, Row] | None:
    """Return the rows of an earlier scan; None where there was none, its columns were others, or it is damaged."""
    if not facts.exists():
        return None
    try:
        table = read_table(facts)
        if not table.schema.equals(schema(FACTS)):
            return None
        return {row["path"]: row for row in table.to_pylist()}
    except (pa.ArrowException, ValueError, OSError):  # damaged facts are not trusted: all is measured anew
        return None


def _is_current(known: Row, entry: Entry) -> bool:
    """Tell whether a row still speaks of the file; one that could not be opened is always tried again."""
    same = (known["bytes"], known["mtime_ns"]) == (entry.bytes, entry.mtime_ns)
    return same and known["unreadable"] not in UNREACHABLE


def _measured(
    root: Path, entries: Iterable[Entry], side: int | None
) -> Iterator[tuple[Row, np.ndarray | None]]:
    """Yield each file's row and its pixels, measured in parallel, in the order of the entries."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future[tuple[Row, np.ndarray | None]]] = deque()
    with ThreadPoolExecutor(threads) as pool:  # decoding and hashing release the interpreter's lock
        for entry in entries:
            waiting.append(pool.submit(_measure, root, entry, side))
            if len(waiting) >= _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _measure(root: Path, entry: Entry, side: int | None) -> tuple[Row, np.ndarray | None]:
    row: Row = {column.name: None for column in FACTS}
    row.update(path=entry.path, bytes=entry.bytes, mtime_ns=entry.mtime_ns)
    try:
        data = read_bytes(root, entry)
    except UnreachableFile as error:
        return {**row, "unreadable": error.reason}, None
    facts, gray = measure(data, max_pixels=MAX_PIXELS)
    return {**row, **asdict(facts)}, None if gray is None or side is None else shrink(gray, side)


def _keep_pixels(
    measured: Iterable[tuple[Row, np.ndarray | None]], pixels: Space, features: SpaceKey | None
) -> Iterator[Row]:
    """Pass the rows on; put the pixels of images that have no features into the cache, block by block."""
    computed = features.open() if features else ()
    waiting: dict[str, np.ndarray] = {}
    for row, square in measured:
        image = row["sha256"]
        if square is not None and image not in computed and image not in pixels:
            waiting[image] = square
        if len(waiting) == pixels.block_rows:
            pixels.put(list(waiting), np.stack(list(waiting.values())))
            waiting.clear()
        yield row
    if waiting:
        pixels.put(list(waiting), np.stack(list(waiting.values())))


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
