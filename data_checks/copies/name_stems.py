"""Name stems: which files say by their names that they were made from another, as `12 - Copy (2).png` or `12-rotated1.png`.

Stands beside the near-duplicates, for copies that no hash finds (small rotations, crops): paths and their class in, links
and flags out. Names alone; no file is opened.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

_SIDE = r"(?:h|v|x|y|lr|ud|horizontal|vertical)"
_NUMBER = r"(?:[ _-]*\d{1,3})?"
#: Words at the end of a name that mean a copy wherever they stand.
_WORDS = (
    r"(?:copy|kopie|copie|copia)(?:[ _-]*\(?\d{1,4}\)?)?",
    rf"rot(?:ate|ated|ation){_NUMBER}(?:deg)?",
    r"rot[ _-]*\d{1,3}(?:deg)?",
    rf"(?:{_SIDE}[ _-]?)?flip(?:ped)?(?:[ _-]?{_SIDE})?{_NUMBER}",
    rf"mirror(?:ed)?{_NUMBER}",
    # At most three digits, as everywhere here: four would be the year after a month.
    rf"aug(?:ment|mented|mentation)?{_NUMBER}",
    rf"dup(?:licate|licated)?{_NUMBER}",
)
#: Means a copy only where the file without it stands beside: bulk renaming makes `x (1)` to `x (1000)` of strangers.
_BRACKETS = r"\(\d{1,4}\)"
_WEAK_WORDS = (
    "resized?",
    "scaled",
    "crop(?:ped)?",
    "zoom(?:ed)?",
    "shift(?:ed)?",
    "nois[ey]",
    "blur(?:red)?",
)
# Not behind another separator: a name of 250 underscores would be tried from each of them.
_HINT = rf"(?<![\s_.-])(?:[\s_.-]*{_BRACKETS}|[\s_.-]+(?:{'|'.join(_WEAK_WORDS)}){_NUMBER})"
_END_WORD = re.compile(rf"(?<![\s_.-])[\s_.-]+\(?(?:{'|'.join(_WORDS)})\)?{_HINT}*$", re.IGNORECASE)
_END_HINT = re.compile(rf"{_HINT}$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StemGroups:
    """What the names of n files say.

    Attributes:
        links: (m, 2) int64, files of which one is named as made from the other, or both from a third; i < j, ascending.
        named: (n,) bool, the file is named as a copy of another, which need not be there.
    """

    links: np.ndarray
    named: np.ndarray


class _Place(NamedTuple):
    """A path's parts: folder, name without ending, ending in lower case."""

    folder: str
    stem: str
    ending: str


@dataclass(frozen=True, slots=True)
class _Family:
    """Files of one folder that share a stem.

    Attributes:
        bare: numbers of the files that are named by the stem alone.
        made: numbers of those named as made from it.
    """

    bare: list[int] = field(default_factory=list)
    made: list[int] = field(default_factory=list)


def stem_groups(paths: Sequence[str], *, classes: Sequence[str]) -> StemGroups:
    """Return which files say by name that they were made from another.

    * A word at the end (`-rotated1`, ` - Copy (2)`, `_hflip`, `_aug_3`; in any case, order and number) makes a file a
      copy of what is named without. A number in brackets or a word such as `resized` does so only where the file
      without it, of the same ending, stands in the same folder.
    * Copies of one stem are linked to it and to each other within their folder. Where that folder does not hold the
      stem, they are linked to the stem and its copies in the other folders of their class.
    * Files that are not named as copies are never linked to each other: data sets number every folder from 1.

    Args:
        paths: n file paths with / between folders, each once.
        classes: n keys, equal for the split folders of one class of one source, and for no other folders.

    Returns:
        Links and flags; the order of `paths` numbers the files.

    Raises:
        ValueError: not as many classes as paths.
    """
    if len(paths) != len(classes):
        raise ValueError(
            f"stem_groups expects a class for every path. Received: {len(paths)} paths, {len(classes)} classes."
        )
    places = [_place(path) for path in paths]
    files = set(places)
    stems = {(place.folder, place.stem) for place in places}
    families: dict[tuple[str, str], dict[str, _Family]] = defaultdict(lambda: defaultdict(_Family))
    named = np.zeros(len(paths), dtype=bool)
    for number, (place, key) in enumerate(zip(places, classes, strict=True)):
        families[key, place.stem][place.folder].bare.append(number)
        origin = _origin(place, files, stems)
        if origin is not None:
            named[number] = True
            families[key, origin][place.folder].made.append(number)
    links = [link for folders in families.values() for link in _links(folders, places)]
    pairs = np.array([(min(link), max(link)) for link in links], dtype=np.int64).reshape(-1, 2)
    return StemGroups(np.unique(pairs, axis=0), named)


def _place(path: str) -> _Place:
    """Take a path apart."""
    folder, _, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    return _Place(folder, stem, ending.lower()) if stem and dot else _Place(folder, name, "")


def _origin(place: _Place, files: set[_Place], stems: set[tuple[str, str]]) -> str | None:
    """Return the stem that a file is named as made from; None where it is named as an original."""
    without = _peel(place.stem)
    short = _END_HINT.sub("", without)
    if without == place.stem:
        return short if short != without and place._replace(stem=short) in files else None
    # `x (1)-rotated1` is made from `x (1)`, or from `x` where only that is there.
    return short if (place.folder, without) not in stems and (place.folder, short) in stems else without


def _peel(stem: str) -> str:
    """Return a stem without the words at its end and the hints behind them; a name that is nothing else stays."""
    while (shorter := _END_WORD.sub("", stem)) not in ("", stem):
        stem = shorter
    return stem


def _links(folders: dict[str, _Family], places: list[_Place]) -> list[tuple[int, int]]:
    """Return the links of one stem in the folders of one class."""
    links = []
    for folder, family in folders.items():
        for number in family.made:
            same = [one for one in family.bare if places[one].ending == places[number].ending]
            links += [(number, one) for one in same or family.bare or family.made[:1] if one != number]
        if family.made and not family.bare:
            others = [other for name, other in folders.items() if name != folder]
            links += [(family.made[0], one) for other in others for one in other.bare or other.made[:1]]
    return links
