"""Archives that nobody unpacked: those that stand where a folder was looked for, and those beside the images.

In: folders by their listing; no archive is ever opened. Out: faults with the line for a shell that unpacks.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from data_checks.findings import Finding, Severity
from data_checks.folders.folder_tree import joined
from data_checks.folders.mends import Fault
from data_checks.folders.names import (
    archive_stem,
    close_name,
    counted,
    fold,
    same_name,
    shown,
    unpack_command,
    written,
)
from data_checks.folders.resolver import Lookup


def archive_for(look: Lookup, place: str, names: Sequence[str]) -> tuple[str | None, int]:
    """Return the archive in a folder that stands for one of the names, and for which of them.

    The only thing there stands for all names; then the number is that of the names.
    """
    there = look.folder(place)
    stems = {archive_stem(name) or name: name for name in there.archives}
    for n, name in enumerate(names):
        stem = same_name(name, list(stems)) or close_name(name, list(stems))
        if stem is not None:
            return stems[stem], n
    alone = len(there.archives) == 1 and not there.folders and not there.images
    return (there.archives[0] if alone else None), len(names)


def archive_fault(look: Lookup, disease: str, archive: str, *, into: str, instead_of: str) -> Fault:
    """Return the fault that an archive stands in the place of a folder.

    Args:
        look: the folders.
        disease: key of the catalog.
        archive: path of the archive, relative to the root.
        into: path of the folder.
        instead_of: what the folder is.
    """
    text = f"An archive stands where {instead_of} is expected; nobody unpacked it."
    return Fault(_finding(disease, "fail", text, _unpacking(look, archive, into), paths=[archive]))


def archive_notes(look: Lookup, disease: str, place: str, *, but: Collection[str] = ()) -> list[Fault]:
    """Return a note for the archives in a folder; one beside a folder of its name has been unpacked.

    Args:
        look: the folders.
        disease: key of the catalog.
        place: the folder.
        but: paths of archives that something else is said of.
    """
    there = look.folder(place)
    folders = {fold(name) for name in there.folders}
    unpacked = {name for name in there.archives if fold(archive_stem(name) or name) in folders}
    paths = [
        path for name in there.archives if name not in unpacked and (path := joined(place, name)) not in but
    ]
    if not paths:
        return []
    into = archive_stem(paths[0]) or paths[0]
    fix = f"unpack what belongs to the disease, or move it away: {_unpacking(look, paths[0], into)}"
    text = f"{counted(len(paths), 'archive')} beside the images: what is in it takes no part."
    return [Fault(_finding(disease, "note", text, fix, paths=paths))]


def _finding(disease: str, severity: Severity, text: str, fix: str, *, paths: Sequence[str]) -> Finding:
    return Finding(
        disease,
        "archive_not_unpacked",
        severity,
        text,
        fix,
        detail=f"not unpacked: {', '.join(map(shown, paths[:8]))}{' ...' if len(paths) > 8 else ''}.",
        count=len(paths),
        total=len(paths),
        places=tuple(map(written, paths)),
    )


def _unpacking(look: Lookup, archive: str, into: str) -> str:
    root = os.path.abspath(look.root)
    return unpack_command(os.path.join(root, archive), os.path.join(root, into))
