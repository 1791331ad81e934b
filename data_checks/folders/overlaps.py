"""Which folders two entries of the catalog both read, under whatever names: their images would count twice.

In: the sources of one disease. Out: faults; a folder that carries both labels stops the disease. Two diseases may
read one folder.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_checks.findings import Finding
from data_checks.folders.mends import Change, Fault
from data_checks.folders.names import counted, listed, shown
from data_checks.folders.sources import SourceFolder


@dataclass(frozen=True, slots=True)
class _Entry:
    source: int
    path: str
    label: int | None
    real: str
    place: tuple[int, int]  # device and inode: one folder has one of them, whatever its names


def counted_twice(root: Path, disease: str, sources: Sequence[SourceFolder]) -> list[Fault]:
    """Return a fault for every two sources that read the same folder, or one inside the other's."""
    entries = [entry for n, source in enumerate(sources) for entry in _entries(root, disease, n, source)]
    pairs = _pairs(entries)
    repeated = _repeated(entries, pairs)
    grouped: dict[tuple[int, int, bool], list[tuple[_Entry, _Entry]]] = defaultdict(list)
    for first, again in pairs:
        grouped[first.source, again.source, {first.label, again.label} == {0, 1}].append((first, again))
    dropped: set[int] = set()
    faults = []
    for (_, again, contradicts), its in sorted(grouped.items()):
        change = None
        if again in repeated and again not in dropped and not contradicts:
            dropped.add(again)
            change = Change(again, instead=())
        faults.append(Fault(_finding(disease, its, contradicts=contradicts), change))
    return faults


def _finding(disease: str, pairs: Sequence[tuple[_Entry, _Entry]], *, contradicts: bool) -> Finding:
    first, again = pairs[0]
    which = f"Source {again.source + 1}"
    if first.source != again.source:
        which = f"Sources {first.source + 1} and {again.source + 1}"
    if contradicts:
        what = f"{which}: {counted(len(pairs), 'folder')} in both classes."
    else:
        what = f"{which}: {counted(len(pairs), 'class folder')} read twice, so the images would count twice."
    said = [
        f"{shown(one.path)} and {shown(other.path)} are the same folder"
        if one.place == other.place
        else f"{shown(other.path)} lies inside {shown(one.path)}"
        for one, other in pairs[:8]
    ]
    return Finding(
        disease,
        "folder_counted_twice",
        "fail" if contradicts else "warn",
        what,
        f"name each folder once in [[diseases.{disease}.sources]] of your diseases.toml: {listed([again.path])} or "
        f"{listed([first.path])}",
        detail="; ".join(said) + ("; ..." if len(pairs) > 8 else "") + ".",
        count=len(pairs),
        total=len(pairs),
        places=tuple(dict.fromkeys(entry.path for pair in pairs for entry in pair)),
    )


def _entries(root: Path, disease: str, n: int, source: SourceFolder) -> list[_Entry]:
    found = []
    for folder in source.class_folders(disease):
        try:
            state, real = os.stat(root / folder.path), os.path.realpath(root / folder.path)
        except (OSError, ValueError):  # what is not there is said elsewhere
            continue
        found.append(_Entry(n, folder.path, folder.label, real, (state.st_dev, state.st_ino)))
    return found


def _pairs(entries: Sequence[_Entry]) -> list[tuple[_Entry, _Entry]]:
    """Return each entry that repeats another, behind the one that it repeats or lies inside of."""
    by_place: dict[tuple[int, int], _Entry] = {}
    again: list[tuple[_Entry, _Entry]] = []
    for entry in entries:
        first = by_place.setdefault(entry.place, entry)
        if first is not entry:
            again.append((first, entry))
    by_path = {entry.real: entry for entry in reversed(entries)}
    for entry in by_place.values():
        above = os.path.dirname(entry.real)
        while above not in by_path and above != os.path.dirname(above):
            above = os.path.dirname(above)
        if above in by_path:
            again.append((by_path[above], entry))
    return again


def _repeated(entries: Sequence[_Entry], pairs: Sequence[tuple[_Entry, _Entry]]) -> set[int]:
    """Return the sources that add nothing: another one reads all of their class folders, with the same labels."""
    read = {(again.source, again.path) for first, again in pairs if _is_elsewhere(first, again)}
    return {
        n
        for n in {entry.source for entry in entries}
        if all((n, e.path) in read for e in entries if e.source == n)
    }


def _is_elsewhere(first: _Entry, again: _Entry) -> bool:
    return first.source != again.source and first.label == again.label
