"""The content-addressed cache: one row (pixels, features) per distinct image, computed once, ever.

A *space* is a folder whose name is the digest of everything the rows depend on; `space.json` in it says what
that is. Rows stand in block files: keys (n, 32) uint8, checksums (n,) uint32, rows (n, ...), three .npy parts.
Blocks are written whole or not at all; a row whose checksum is wrong is dropped, so it is computed anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
import tokenize
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tasks.core.errors import StorageError
from tasks.files import read_json, write_atomically, write_json, writing

#: At most, rows in a block and bytes of its rows: large enough to read fast, small enough to lose.
BLOCK_ROWS, BLOCK_BYTES = 512, 8 * 2**20
_KEY_BYTES = 32
#: What numpy says about a part that is no part, and the system about a block that another process removed.
_DAMAGED = (
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
    FileNotFoundError,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One block file: keys and checksums in memory, rows on disk."""

    path: Path
    keys: np.ndarray
    checksums: np.ndarray
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def rows(self) -> np.ndarray:
        """Map the rows; not kept open, for a large cache has more blocks than a process has files."""
        return np.memmap(self.path, self.dtype, "r", self.offset, (len(self.keys), *self.shape))


@dataclass(frozen=True, slots=True)
class SpaceKey:
    """Everything that the rows of a space depend on besides the image; opens it in any process.

    Attributes:
        folder: `cache/pixels` or `cache/features` of the home folder.
        describes: names and figures that JSON can hold, as pairs.
        shape: of one row.
        dtype: of one row.
    """

    folder: Path
    describes: tuple[tuple[str, Any], ...]
    shape: tuple[int, ...]
    dtype: str

    def note(self) -> dict[str, Any]:
        """Return what `space.json` says."""
        return {**dict(self.describes), "shape": list(self.shape), "dtype": self.dtype}

    def digest(self) -> str:
        """Return the name of the space's folder."""
        return hashlib.sha256(json.dumps(self.note(), sort_keys=True).encode()).hexdigest()[:16]

    def row_bytes(self) -> int:
        """Return the size of a row on disk, its key and checksum included."""
        return _KEY_BYTES + 4 + int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def block_rows(self) -> int:
        """Return how many rows a block holds."""
        return max(1, min(BLOCK_ROWS, BLOCK_BYTES // self.row_bytes()))

    def open(self) -> Space:
        """Open the space; it is made where it is not there."""
        return Space(self)


class Space:
    """Rows of one kind, by image."""

    def __init__(self, key: SpaceKey) -> None:
        self.folder = key.folder / key.digest()
        self.shape, self.dtype, self.block_rows = key.shape, np.dtype(key.dtype), key.block_rows()
        self._blocks: dict[str, Block] = {}
        self._places: dict[str, tuple[str, int]] = {}
        if not (self.folder / "space.json").exists():
            write_json(self.folder / "space.json", key.note())
        with writing(self.folder):
            (self.folder / "space.json").touch()  # when the space was last used, for pruning
        self.refresh()

    def __contains__(self, image: str) -> bool:
        return image in self._places

    def __len__(self) -> int:
        return len(self._places)

    def refresh(self) -> None:
        """Take notice of blocks that other processes have written; drop those that cannot be read."""
        for path in sorted(self.folder.glob("*.block")):
            if path.name not in self._blocks:
                block = _open(path, self.shape, self.dtype)
                if block is None:
                    path.unlink(missing_ok=True)
                else:
                    self._take(block)

    def put(self, images: Sequence[str], rows: np.ndarray) -> None:
        """Keep one row per image.

        Args:
            images: sha256 of each image's bytes, hexadecimal.
            rows: (n, *shape) of the space's dtype.

        Raises:
            StorageError: no permission or no space; nothing is half-written.
        """
        if rows.shape != (len(images), *self.shape) or rows.dtype != self.dtype:
            raise ValueError(
                f"Expected rows {(len(images), *self.shape)} {self.dtype}. Received: {rows.shape} {rows.dtype}"
            )
        for start in range(0, len(images), self.block_rows):
            end = start + self.block_rows
            self._write(_keys(images[start:end]), rows[start:end])

    def missing(self, images: Sequence[str]) -> list[str]:
        """Return the images whose row is not there, or is there but damaged (it is dropped then).

        Reads every row that is asked for, so that a later `read` finds all of them sound.
        """
        checked: set[str] = set()
        while found := {self._places[i][0] for i in images if i in self._places} - checked:
            for name in found:
                self._drop_damaged(self._blocks[name])
            checked |= found
        return [image for image in images if image not in self._places]

    def read(self, images: Sequence[str]) -> np.ndarray:
        """Return (n, *shape) rows, each checked against its checksum.

        Raises:
            StorageError: a row is missing or damaged since `missing` was asked.
        """
        out = np.empty((len(images), *self.shape), self.dtype)
        wanted: dict[str, list[tuple[int, int]]] = {}
        for n, image in enumerate(images):
            if image not in self._places:
                raise self._unsound(image, "none")
            name, place = self._places[image]
            wanted.setdefault(name, []).append((n, place))
        for name, places in wanted.items():
            block = self._blocks[name]
            try:
                rows = block.rows()
            except (FileNotFoundError, ValueError) as error:
                raise self._unsound(images[places[0][0]], "no block") from error
            for n, place in places:
                out[n] = rows[place]
                if _checksum(block.keys[place], out[n]) != block.checksums[place]:
                    raise self._unsound(images[n], "a wrong checksum")
        return out

    def _unsound(self, image: str, received: str) -> StorageError:
        return StorageError(
            "A cached row is missing or damaged.",
            where=self.folder,
            expected=f"a sound row for image {image[:12]}",
            received=received,
            fix="run the same command again: damaged rows are computed anew",
        )

    def _write(self, keys: np.ndarray, rows: np.ndarray) -> None:
        checksums = _checksums(keys, rows)
        path = self.folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:24]}.block"

        def write(file: BinaryIO) -> None:
            # By way of memory: where the disk is full, numpy's own writing gives an OSError without an errno.
            parts = io.BytesIO()
            for part in (keys, checksums, np.ascontiguousarray(rows)):
                np.save(parts, part, allow_pickle=False)
            file.write(parts.getbuffer())

        write_atomically(path, write)
        block = _open(path, self.shape, self.dtype)
        if block is not None:
            self._take(block)

    def _take(self, block: Block) -> None:
        self._blocks[block.path.name] = block
        for place, key in enumerate(block.keys):
            self._places[key.tobytes().hex()] = (block.path.name, place)

    def _drop_damaged(self, block: Block) -> None:
        """Keep the sound rows of a damaged block under a new name, and remove the rest."""
        try:
            rows = block.rows()
            sound = _checksums(block.keys, rows) == block.checksums
        except FileNotFoundError:  # another process removed it, or wrote its sound rows anew
            self._forget(block)
            self.refresh()
            return
        except ValueError:  # cut short
            sound, rows = np.zeros(len(block.keys), bool), np.empty((len(block.keys), 0))
        if sound.all():
            return
        keys, rows = block.keys[sound], np.array(rows[sound])
        self._forget(block)
        with writing(self.folder):
            block.path.unlink(missing_ok=True)
        if len(keys):
            self._write(keys, rows)

    def _forget(self, block: Block) -> None:
        del self._blocks[block.path.name]
        self._places.clear()
        for other in list(self._blocks.values()):  # one of them may hold a row of the block as well
            self._take(other)


@dataclass(frozen=True, slots=True)
class SpaceUse:
    """What a space holds: kind (`pixels`, `features`), digest, description, rows, bytes, days since used."""

    kind: str
    digest: str
    describes: dict[str, Any]
    rows: int
    bytes: int
    idle_days: float


def list_spaces(cache: Path) -> Iterator[SpaceUse]:
    """Yield every space below the cache folder."""
    for note in sorted(cache.glob("*/*/space.json")):
        blocks = list(note.parent.glob("*.block"))
        rows = sum(_count(path) for path in blocks)
        size = sum(path.stat().st_size for path in blocks)
        idle = max(0.0, time.time() - note.stat().st_mtime) / 86_400
        yield SpaceUse(note.parent.parent.name, note.parent.name, _describe(note), rows, size, idle)


def prune(cache: Path, *, idle_days: float = 0.0, digests: Sequence[str] = ()) -> list[SpaceUse]:
    """Remove the spaces that were not used for `idle_days`, or just those named; return what went."""
    gone = [
        use
        for use in list_spaces(cache)
        if (use.digest in digests if digests else use.idle_days >= idle_days)
    ]
    for use in gone:
        with writing(cache):
            shutil.rmtree(cache / use.kind / use.digest)
    return gone


def _keys(images: Sequence[str]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(images)), np.uint8).reshape(-1, _KEY_BYTES)


def _checksum(key: np.ndarray, row: np.ndarray) -> int:
    return zlib.crc32(row.tobytes(), zlib.crc32(key.tobytes()))


def _checksums(keys: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.array([_checksum(key, row) for key, row in zip(keys, rows, strict=True)], np.uint32)


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> Block | None:
    """Open a block with its rows on disk; None where its parts are not as they must be."""
    try:
        with path.open("rb") as file:
            keys, checksums = _part(file), _part(file)
            header, offset = _header(file), file.tell()
        there = path.stat().st_size
    except _DAMAGED:
        return None
    n = header[0][0] if header[0] else 0
    parts = [(keys.shape, keys.dtype), (checksums.shape, checksums.dtype), header]
    expected = [((n, _KEY_BYTES), np.dtype(np.uint8)), ((n,), np.dtype(np.uint32)), ((n, *shape), dtype)]
    if parts != expected or there != offset + n * int(np.prod(shape)) * dtype.itemsize:
        return None
    return Block(path, keys, checksums, offset, shape, dtype)


def _part(file: BinaryIO) -> np.ndarray:
    return np.lib.format.read_array(file, allow_pickle=False)


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype


def _describe(note: Path) -> dict[str, Any]:
    try:
        return read_json(note)
    except ValueError:  # a damaged note must not keep its space from being listed and pruned
        return {"damaged": note.name}


def _count(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return _header(file)[0][0]
    except _DAMAGED:
        return 0
