"""Who is alive: a run holds a lock for as long as it lives, and what it started ends with it, however it ends.

    alive/<flow run>.lock   at-work/<what>.lock

The system lets go of a lock when its process ends, by kill -9 and by loss of power too. So nobody has to guess from
the age of a heartbeat, or from a clock, whether a run that says "running" still does. A run that ends by itself
removes its file: one that stands there and is not held tells of a run that was lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from tasks.core.errors import AlreadyRunning
from tasks.files import writing

_PR_SET_PDEATHSIG = 1


def die_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel end this process when the thread that started it ends (Linux, prctl(2)); elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)


@contextlib.contextmanager
def alive(home: Path, key: str) -> Iterator[None]:
    """Be seen to be alive within this context, under a key.

    Raises:
        StorageError: the home folder cannot be written.
    """
    path = _path(home, key)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _hold(path)
    with file:
        yield
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def alone_at(home: Path, work: str, key: str) -> Iterator[None]:
    """Be the only one at a piece of work.

    Args:
        home: the home folder.
        work: what it is.
        key: of the run.

    Raises:
        AlreadyRunning: another run is at it, on this machine or on one that shares the home folder.
        StorageError: the home folder cannot be written.
    """
    path = home / "at-work" / f"{work}.lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise AlreadyRunning(
                "Another run is at the same work; this one would do it twice.",
                where=home,
                expected="one run at a time of the same profile, diseases, seed and figures",
                received=f"flow run {file.read().decode(errors='replace').strip() or 'that has just begun'}",
                fix="wait for that one, or cancel it",
            ) from error
        with writing(path):
            file.truncate(0)
            file.write(key.encode())
            file.flush()
        yield


@contextlib.contextmanager
def in_turn_at(home: Path, work: str, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Be the only one at a piece of work within this context, after whoever is at it now.

    Args:
        home: the home folder.
        work: what it is.
        waiting: called where somebody else is at it.

    Raises:
        StorageError: the home folder cannot be written.
    """
    path = home / "at-work" / f"{work}.lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _hold(path, waiting)
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def has_lost(home: Path) -> bool:
    """Tell whether a run was lost that nobody has dealt with."""
    looking = lost(home)
    found = next(looking, None) is not None
    looking.close()
    return found


def lost(home: Path) -> Generator[str, None, None]:
    """Yield the key of every run that was lost, and forget it once whoever asked has dealt with it and goes on.

    While one is dealt with nobody else is given it, nor can it start anew.
    """
    for path in sorted(home.joinpath("alive").glob("*.lock")):
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if _is(path, file):
                yield path.stem
                path.unlink(missing_ok=True)


def _hold(path: Path, waiting: Callable[[], None] = lambda: None) -> BinaryIO:
    """Return the locked file; one that was removed in between is made again."""
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        if _is(path, file):
            return file
        file.close()


def _is(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _path(home: Path, key: str) -> Path:
    return home / "alive" / f"{key}.lock"
