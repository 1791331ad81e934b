"""Which files lie below the class folders, and their bytes: the only code that walks the user's folders.

Anything may be there: loops, dead links, pipes, files that vanish, notes of an operating system. Each becomes an entry
with a reason code, never an exception.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data_checks.reasons import UNREACHABLE, UNREADABLE

#: A file is read whole into memory.
MAX_BYTES = 512 * 2**20
#: ns since 1970, years 1823 to 2116: well within a 64-bit number, whose very ends stand for other things in tables.
_EARLIEST, _LATEST = -(2**62), 2**62

# What macOS, Windows, KDE, git and browsers leave beside files. The names are compared without case: copies of a disk change it.
_SIDECAR_NAMES = frozenset(
    {".ds_store", "thumbs.db", "desktop.ini", ".directory", ".gitkeep", ".gitignore", ".gitattributes"}
)
# AppleDouble: `._x` beside `x`. Windows' mark of a download, kept as a file by other systems: `x:Zone.Identifier`.
_SIDECAR = re.compile(r"\._.*|.*:zone\.identifier", re.DOTALL)
# macOS packs every file's AppleDouble into a folder of this name in a .zip.
SIDECAR_FOLDER = "__MACOSX"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file: path relative to the root, bytes, time of change (ns), or the reason why it is not read."""

    path: str
    bytes: int
    mtime_ns: int
    unreachable: str | None = None


class UnreachableFile(Exception):
    """A file is not read; carries a code of UNREACHABLE, or `sidecar`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {UNREACHABLE.get(reason) or UNREADABLE[reason]}")


def is_sidecar(path: str) -> bool:
    """Tell whether a file is an operating system's or browser's own note, by its path with / between folders."""
    *folders, name = path.split("/")
    name = name.lower()
    return name in _SIDECAR_NAMES or _SIDECAR.fullmatch(name) is not None or SIDECAR_FOLDER in folders


def list_files(root: Path, folders: Iterable[str]) -> Iterator[Entry]:
    """Yield every file below the folders once, in no certain order.

    Links are followed inside the root, and each folder is entered once below each of `folders`.

    Args:
        root: the data root.
        folders: class folders, relative to the root; those that are not there are passed over (the layout
            check names them).
    """
    inside = root.resolve()
    seen: set[str] = set()
    for start in folders:
        waiting, visited = [start], set()
        while waiting:
            folder = waiting.pop()
            try:
                names, links = _names(root / folder)
                place = (root / folder).stat()
                if folder == start and not (root / folder).resolve().is_relative_to(inside):
                    yield Entry(_text(folder), -1, -1, "outside_root")
                    continue
            except FileNotFoundError:
                if folder != start:
                    yield Entry(_text(folder), -1, -1, "vanished")
                continue
            except OSError as error:
                yield Entry(_text(folder), -1, -1, _reason(error))
                continue
            if (place.st_dev, place.st_ino) in visited:
                continue
            visited.add((place.st_dev, place.st_ino))
            for name in names:
                path = f"{folder}/{name}"
                entry = _entry(root, path, inside if name in links else None)
                if entry is None:
                    waiting.append(path)
                elif path not in seen:
                    seen.add(path)
                    yield entry


def read_bytes(root: Path, entry: Entry) -> bytes:
    """Return the bytes of a listed file.

    Raises:
        UnreachableFile: it cannot be read, or is not what it was when it was listed.
    """
    if entry.unreachable is not None:
        raise UnreachableFile(entry.unreachable)
    data = _read(root / entry.path)
    if len(data) != entry.bytes:
        raise UnreachableFile("vanished")
    return data


def read_file(root: Path, path: str) -> bytes:
    """Return the bytes of a file below the root, whatever has become of it since it was listed.

    Raises:
        UnreachableFile: it cannot be read, is no file, or leads out of the root.
    """
    place = root / path
    try:
        inside = place.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:
        raise UnreachableFile(_reason(error)) from error
    if not inside:
        raise UnreachableFile("outside_root")
    return _read(place)


def _read(place: Path) -> bytes:
    """Return the bytes of a file; a pipe that stands in its place now is not waited for."""
    try:
        with open(os.open(place, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise UnreachableFile("not_a_file")
            if state.st_size > MAX_BYTES:
                raise UnreachableFile("file_too_large")
            return file.read(MAX_BYTES)
    except OSError as error:
        raise UnreachableFile(_reason(error)) from error


def _names(folder: Path) -> tuple[list[str], set[str]]:
    """Return what lies in a folder, in order, and which of it are links.

    Names alone: what os.scandir yields takes 900 bytes a file once it is asked for its size, which is 1 GB for a million.
    """
    names, links = [], set()
    with os.scandir(folder) as items:
        for item in items:
            names.append(item.name)
            if item.is_symlink():
                links.add(item.name)
    names.sort()
    return names, links


def _entry(root: Path, path: str, inside: Path | None) -> Entry | None:
    """Return the entry of a file, or None for a folder that is to be listed; a link may not lead out of `inside`."""
    place = os.path.join(root, path)
    try:
        state = os.stat(place)
        if inside is not None and not Path(place).resolve(strict=True).is_relative_to(inside):
            return Entry(_text(path), -1, -1, "outside_root")
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        return Entry(_text(path), -1, -1, _reason(error))
    if stat.S_ISDIR(state.st_mode):
        return None
    reason = None
    if not stat.S_ISREG(state.st_mode):
        reason = "not_a_file"
    elif _text(path) != path:
        reason = "name_not_utf8"
    elif is_sidecar(path):
        reason = "sidecar"
    elif state.st_size > MAX_BYTES:
        reason = "file_too_large"
    # Some file systems keep years that no 64 bits of nanoseconds hold, as a broken archive brings them.
    mtime_ns = min(max(state.st_mtime_ns, _EARLIEST), _LATEST)
    return Entry(_text(path), state.st_size, mtime_ns, reason)


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, PermissionError):
        return "permission_denied"
    if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
        return "broken_link"
    if isinstance(error, FileNotFoundError):
        return "vanished" if error.filename is None or not os.path.islink(error.filename) else "broken_link"
    return "read_error"


def _text(path: str) -> str:
    """Return the path as text that can be written; bytes that are no UTF-8 become escapes, behind two slashes.

    No path that is walked has two slashes in a row, so no two files share one text.
    """
    try:
        path.encode("utf-8")
        return path
    except UnicodeEncodeError:
        folder, _, name = os.fsencode(path).decode("utf-8", "backslashreplace").rpartition("/")
        return f"{folder}//{name}"
