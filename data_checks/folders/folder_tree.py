"""Which folders lie below the data root: their names, their archives and how many images they seem to hold.

By names alone, no file is opened or asked for its state. Links are never followed, so nothing outside the root is
seen and no loop is entered; the walk is bounded in folders and depth. In: the root. Out: `Tree`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from data_checks.folders.names import archive_stem, is_image_name
from data_checks.images.listing import SIDECAR_FOLDER

#: Radiographs stand in hundreds of folders; those with one folder per patient have their classes far above.
MAX_FOLDERS = 20_000
MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies directly in a folder.

    Attributes:
        folders: names, sorted; links to folders inside the root are among them.
        links: those that are links.
        archives: names of files that look like archives, sorted.
        images: files that look like images.
    """

    folders: tuple[str, ...] = ()
    links: frozenset[str] = frozenset()
    archives: tuple[str, ...] = ()
    images: int = 0


@dataclass(frozen=True, slots=True)
class Tree:
    """The folders below a place, that place included.

    Attributes:
        folders: by path, relative to the root, in the order of the walk (level by level, then by name).
        images: by path, files that look like images in it and below it, as far as the walk went.
        unseen: paths of folders with something below that the walk did not enter.
    """

    folders: Mapping[str, Folder] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()

    def holds_images(self, path: str) -> bool:
        """Tell whether images lie in the folder or below it; true where the walk cannot tell."""
        return path in self.unseen or path not in self.folders or self.images[path] > 0


def list_folder(root: Path, path: str) -> Folder:
    """Return what lies in a folder; nothing where it leads out of the root or may not be read."""
    inside = os.path.realpath(root)
    try:
        place = os.path.realpath(root / path)
    except (OSError, ValueError):
        return Folder()
    return _listed(place, inside) if _is_inside(place, inside) else Folder()


def walk(root: Path, start: str = ".", *, max_folders: int = MAX_FOLDERS, max_depth: int = MAX_DEPTH) -> Tree:
    """Return the folders at and below `start`, at most so many and so deep."""
    inside = os.path.realpath(root)
    folders: dict[str, Folder] = {}
    unseen: list[str] = []
    waiting = deque([(start, 0)])
    while waiting:
        path, depth = waiting.popleft()
        if len(folders) >= max_folders or depth > max_depth:
            unseen.append(path)
            continue
        found = list_folder(root, path) if path == start else _listed(f"{inside}/{path}", inside)
        folders[path] = found
        for name in found.folders:
            below = joined(path, name)
            if name in found.links:
                unseen.append(below)
            else:
                waiting.append((below, depth + 1))
    images = {path: found.images for path, found in folders.items()}
    for path in reversed(folders):  # a folder stands behind its parent
        if path != start:
            images[parent(path)] += images[path]
    doubtful: set[str] = set()
    for path in unseen:
        while path not in doubtful:
            doubtful.add(path)
            path = parent(path)
    return Tree(folders, images, frozenset(doubtful))


def joined(path: str, name: str) -> str:
    """Return the path of something in a folder; `.` is the root."""
    return name if path == "." else path if name == "." else f"{path}/{name}"


def parent(path: str) -> str:
    """Return the folder that a path lies in; the root lies in itself."""
    return path.rpartition("/")[0] or "."


def ancestors(path: str) -> list[str]:
    """Return the folders that a path lies in, the nearest first, the root last."""
    found = []
    while path != ".":
        path = parent(path)
        found.append(path)
    return found


def is_within(path: str, other: str) -> bool:
    """Tell whether a path is the other or lies below it."""
    return path == other or other == "." or path.startswith(other + "/")


def _listed(place: str, inside: str) -> Folder:
    folders: list[str] = []
    links: list[str] = []
    archives: list[str] = []
    images = 0
    # Not readable, or gone meanwhile: what was seen of it until then counts.
    with suppress(OSError), os.scandir(place) as items:
        for item in items:
            name = item.name
            if name.startswith(".") or name == SIDECAR_FOLDER:
                continue
            if item.is_dir(follow_symlinks=False):
                folders.append(name)
            elif "." in name and is_image_name(name):  # a million take 2.9 s; asked last, 6.7 s
                images += 1
            elif item.is_symlink() and os.path.isdir(item.path):
                if _is_inside(os.path.realpath(item.path), inside):
                    links.append(name)
            elif archive_stem(name) is not None:
                archives.append(name)
            elif is_image_name(name):
                images += 1
    return Folder(tuple(sorted([*folders, *links])), frozenset(links), tuple(sorted(archives)), images)


def _is_inside(place: str, inside: str) -> bool:
    return place == inside or place.startswith(inside.rstrip("/") + "/")
