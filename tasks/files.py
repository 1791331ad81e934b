"""How files are written: whole or not at all, by one process at a time, with a clear error where that cannot be."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tasks.core.errors import StorageError

#: How often somebody who waits for another process looks again.
_POLL_S = 0.05
#: What the operating system says when a place cannot be written, and what to do about it.
_REMEDIES = {
    errno.ENOSPC: "free some space, remove cached features (radtrain cache prune), or name another --home DIR",
    errno.EDQUOT: "free some of your quota, or name another --home DIR",
    errno.EACCES: "make the folder writable for you, or name another one: --home DIR",
    errno.EPERM: "make the folder writable for you, or name another one: --home DIR",
    errno.EROFS: "name a folder on a disk that can be written: --home DIR",
    errno.ENOTDIR: "a file stands where a folder is needed: remove it, or name another --home DIR",
    errno.EFBIG: "the file may not become so large: raise `ulimit -f`, or name another --home DIR",
    errno.EIO: "the disk reported an error: check the disk or the network mount, or name another --home DIR",
    errno.EISDIR: "a folder stands where a file is needed: remove it, or name another --home DIR",
    errno.ENAMETOOLONG: "the name is longer than the disk allows: name a shorter one, such as another --home DIR",
    errno.EEXIST: "a file stands where a folder is needed: remove it, or name another --home DIR",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says about a place that cannot be written into a `StorageError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        raise StorageError(
            "radtrain cannot write to its home folder.",
            where=path,
            expected="a writable place with free space",
            received=error.strerror,
            fix=_REMEDIES[error.errno],
        ) from error


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Write a file under another name and move it into place: it is there whole, or it is not there.

    Raises:
        StorageError: no permission, no space; nothing is left behind.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.parent / f".writing-{uuid.uuid4().hex}"
        try:
            with name.open("xb") as file:  # unlike a temporary file, readable for whom the user's umask says
                write(file)
            os.replace(name, path)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
    return path


@contextlib.contextmanager
def alone(lock: Path, *, check: Callable[[], None] | None = None) -> Iterator[Callable[[], None]]:
    """Keep other processes out of a piece of work for as long as the context lasts, or until what it yields is called.

    Args:
        lock: file that stands for the work; let go by the system when the process ends, however it ends.
        check: called again and again while another process is at it; waiting ends if it raises.
    """
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    with file:
        while check is not None:
            check()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_POLL_S)
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(file, fcntl.LOCK_UN)


def write_json(path: Path, content: Any) -> Path:
    """Write readable JSON with keys in the order given; NaN is not JSON and raises ValueError."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    return write_atomically(path, lambda file: file.write(text.encode()))


def read_json(path: Path) -> Any:
    """Read a JSON file of the home folder."""
    return json.loads(path.read_text(encoding="utf-8"))


def prepare_home(home: Path) -> Path:
    """Make the home folder and see that it can be written.

    Raises:
        StorageError: it cannot.
    """
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    return home
