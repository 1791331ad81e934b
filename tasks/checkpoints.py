"""Checkpoints: where a training stood after each epoch, so that a killed one goes on instead of beginning again.

    checkpoints/<plan>/epoch-<n>.npz

The folder is named by the digest of the plan, so the same command finds it and any other does not. The last two
are kept: one that is damaged (an archive of numpy, then its sha256) is passed over for the one before.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tasks.core.fitting import Epoch, State
from tasks.files import write_atomically

#: Days after which nobody is taken to go on from a checkpoint.
ABANDONED_DAYS = 30
_DIGEST_BYTES = 32


def checkpoint_folder(home: Path, plan_digest: str) -> Path:
    """Return where the checkpoints of a plan are kept."""
    return home / "checkpoints" / plan_digest[:32]


@dataclass(slots=True)
class CheckpointFolder:
    """The checkpoints of one plan.

    Attributes:
        folder: where they are.
        resumed_after: the epoch that training went on from; 0 where it began anew.
        damaged: how many files could not be read.
    """

    folder: Path
    resumed_after: int = 0
    damaged: int = 0

    def load(self) -> State:
        """Return the last state that is sound, or a new one."""
        for path in reversed(self._files()):
            state = _read(path)
            if state is not None:
                self.resumed_after = len(state.history)
                return state
            self.damaged += 1
        return State()

    def save(self, state: State) -> None:
        """Keep a state and the one before; what stands after it is damaged, or training would have gone on from it.

        Raises:
            StorageError: the home folder cannot be written; the older ones are still there.
        """
        arrays = {f"variable-{n:04}": value for n, value in enumerate(state.variables)}
        arrays |= {f"best-{n:04}": value for n, value in enumerate(state.best)}
        history = json.dumps([epoch.to_json() for epoch in state.history]).encode()
        arrays["history"] = np.frombuffer(history, np.uint8)
        path = self.folder / f"epoch-{len(state.history):04}.npz"
        write_atomically(path, lambda file: _write(file, arrays))
        files = self._files()
        place = files.index(path)
        for other in (*files[: max(0, place - 1)], *files[place + 1 :]):
            other.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*.npz"))


def epochs_done(folder: Path) -> int:
    """Return after which epoch the newest checkpoint of a folder was kept; 0 where there is none."""
    return max((int(path.stem.removeprefix("epoch-")) for path in folder.glob("epoch-*.npz")), default=0)


def forget_checkpoints(folder: Path) -> None:
    """Remove what nobody will go on from: the training is recorded. What cannot be removed does no harm.

    Trainings that were broken off go with it, if nobody went on from them for `ABANDONED_DAYS`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # another run may remove the same
        for other in folder.parent.iterdir():
            # A folder's own time is that of its newest file: files come and go in it.
            if time.time() - other.stat().st_mtime > ABANDONED_DAYS * 86_400:
                shutil.rmtree(other, ignore_errors=True)


class _Hashed(io.RawIOBase):
    """A file that is written once, from its beginning to its end, and knows the sha256 of it: nothing is held in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self._file.write(data)


def _write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    hashed = _Hashed(file)
    np.savez(hashed, **arrays)  # pyright: ignore[reportArgumentType]
    file.write(hashed.sha256.digest())


def _read(path: Path) -> State | None:
    """Return the state in a file; None where it is not what was written."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    content = data[:-_DIGEST_BYTES]
    if hashlib.sha256(content).digest() != data[-_DIGEST_BYTES:]:
        return None
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in sorted(file.files)}
    history = [Epoch.from_json(said) for said in json.loads(arrays["history"].tobytes())]
    return State(
        history=history,
        variables=[value for name, value in arrays.items() if name.startswith("variable-")],
        best=[value for name, value in arrays.items() if name.startswith("best-")],
    )
