"""What lies beside the class folders of a sound source and is not read: folders with images, archives.

In: a source whose folders are all there. Out: faults. Only such a folder's names are read, and those of folders
that nobody names.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from data_checks.findings import Finding
from data_checks.folders.archives import archive_notes
from data_checks.folders.folder_tree import ancestors, is_within, joined, parent, walk
from data_checks.folders.mends import Change, Fault, toml_keys
from data_checks.folders.names import (
    SPLIT_NAMES,
    counted,
    is_text,
    same_name,
    shown,
    written,
)
from data_checks.folders.resolver import Lookup, fitting
from data_checks.folders.sources import SourceFolder, plain

#: Folders that are counted of one that nobody names: enough to tell that it holds images.
_MAX_FOLDERS = 2_000


@dataclass(frozen=True, slots=True)
class Named:
    """All class folders that the catalog names, and every folder above one."""

    folders: frozenset[str]
    above: frozenset[str]
    real: frozenset[str]


def named_folders(look: Lookup, sources: Mapping[str, Sequence[SourceFolder]]) -> Named:
    """Return the class folders of all diseases."""
    folders = {c.path for key, its in sources.items() for source in its for c in source.class_folders(key)}
    above = {path for folder in folders for path in ancestors(folder)}
    return Named(frozenset(folders), frozenset(above), frozenset(_real(look, path) for path in folders))


def left_over(
    look: Lookup, disease: str, sources: Sequence[SourceFolder], n: int, *, named: Named
) -> list[Fault]:
    """Return a fault for folders beside the class folders, for split folders beside those named, and for archives.

    Args:
        look: the folders.
        disease: key of the catalog.
        sources: of the disease.
        n: which of them, from 0; all its folders are there.
        named: what the catalog reads.
    """
    source = sources[n]
    folder = plain(source.folder)
    betweens = [joined(folder, plain(between)) for _, between in source.splits] or [folder]
    places = {parent(joined(place, plain(name))) for place in betweens for name, _ in source.classes}
    places = sorted({place for place in places | {folder} if is_within(place, folder)})
    unread = {
        path: images
        for place in places
        if not any(above in named.folders for above in (place, *ancestors(place)))
        for path in _unnamed(look, place, named)
        if (images := _images(look, path))
    }
    faults = []
    for path, splits in _further_splits(look, source, unread).items():
        faults.append(_unread_split(disease, n, path, unread.pop(path), splits))
    if unread:
        faults.append(Fault(_unread(look, disease, sources, n, betweens=betweens, unread=unread)))
    return [
        *faults,
        *(fault for place in sorted({folder, *betweens}) for fault in archive_notes(look, disease, place)),
    ]


def _unnamed(look: Lookup, place: str, named: Named) -> list[str]:
    there = look.folder(place)
    return [
        path
        for name in there.folders
        if (path := joined(place, name)) not in named.folders
        and path not in named.above
        and not (name in there.links and _real(look, path) in named.real)
    ]


def _further_splits(
    look: Lookup, source: SourceFolder, unread: Collection[str]
) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the split folders that the source leaves out, each with the splits as they would read with it."""
    folder = plain(source.folder)
    beside = [path.rpartition("/")[2] for path in unread if parent(path) == folder and path != folder]
    said, found = dict(source.splits), {}
    for split, usual in SPLIT_NAMES.items() if said else ():
        name = next((its for other in usual if (its := same_name(other, beside))), None)
        if split in said or name is None or not is_text(name):
            continue
        fits = fitting(look, replace(source, splits=()), joined(folder, name))
        if fits and fits.classes == source.classes:
            with_it = {**said, split: name}
            found[joined(folder, name)] = tuple((key, with_it[key]) for key in SPLIT_NAMES if key in with_it)
            said = with_it
    return found


def _unread_split(disease: str, n: int, path: str, images: int, splits: tuple[tuple[str, str], ...]) -> Fault:
    finding = Finding(
        disease,
        "folder_unread",
        "warn",
        f"A split folder with {counted(images, 'image')} lies in source {n + 1}, and the catalog does not name it.",
        "",
        detail=f"{shown(path)} has the class folders of the source and is not read.",
        count=images,
        total=images,
        places=(written(path),),
    )
    return Fault(finding, Change(n, splits=splits))


def _unread(
    look: Lookup,
    disease: str,
    sources: Sequence[SourceFolder],
    n: int,
    *,
    betweens: Sequence[str],
    unread: Mapping[str, int],
) -> Finding:
    source, images = sources[n], sum(unread.values())
    copies = [path for path in unread if fitting(look, source, path)]
    held = ", ".join(f"{shown(path)} ({counted(count, 'image')})" for path, count in list(unread.items())[:8])
    detail = f"not read: {held}{' ...' if len(unread) > 8 else ''}"
    if copies:
        detail += f"; {shown(copies[0])} has the class folders of the source itself: a copy of it, or a part"
    return Finding(
        disease,
        "folder_unread",
        "warn",
        f"{counted(len(unread), 'folder')} with {counted(images, 'image')} beside the class folders of source {n + 1}: "
        "not named in the catalog, so not read.",
        _label_them(disease, sources, n, betweens=betweens, unread=unread),
        detail=f"{detail}.",
        count=images,
        total=images,
        places=tuple(map(written, unread)),
    )


def _label_them(
    disease: str, sources: Sequence[SourceFolder], n: int, *, betweens: Sequence[str], unread: Collection[str]
) -> str:
    """Return what to do with further classes: only a person knows their label, so this is no mend."""
    names = [path.removeprefix(betweens[0] + "/") for path in unread if is_within(path, betweens[0])]
    everywhere = [
        name for name in names if is_text(name) and all(joined(b, name) in unread for b in betweens)
    ]
    if not everywhere:
        return "move them away if they do not belong to the disease, or name them in your diseases.toml"
    source = sources[n]
    line = toml_keys(replace(source, classes=(*source.classes, *((name, None) for name in everywhere))))[
        "unknown"
    ]
    return (
        f"add them to negative or positive in source {n + 1} of [[diseases.{disease}.sources]] of your diseases.toml; "
        f"to leave them out on purpose, write unknown = {line}"
    )


def _images(look: Lookup, path: str) -> int:
    tree = walk(look.root, path, max_folders=_MAX_FOLDERS)
    return tree.images[path]


def _real(look: Lookup, path: str) -> str:
    try:
        return os.path.realpath(look.root / path)
    except (OSError, ValueError):
        return path
