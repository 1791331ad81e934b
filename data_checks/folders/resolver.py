"""Where the images of a source may be that is not where the catalog says: by name, and by what the folders hold.

In: the data root and a source. Out: a proposal, sure or not. Whoever writes a sure one into a catalog must find the
right images there, so what could be another disease's or the contrary label is never sure.
"""

from __future__ import annotations

import difflib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from data_checks.folders.folder_tree import (
    Folder,
    Tree,
    ancestors,
    is_within,
    joined,
    list_folder,
    parent,
    walk,
)
from data_checks.folders.names import SPLIT_NAMES, close_name, fold, is_text, same_name, words
from data_checks.folders.sources import SourceFolder, plain

#: Sibling folders that are proposed together, as the parts of one data set; more are not one, but a collection.
MAX_TOGETHER = 12
#: Paths whose words agree with what was looked for within this many words are equally good.
_EQUAL = 0.3
#: Words that say nothing of which data set it is count a tenth.
_COMMON = """
data dataset datasets set archive organized organised combined image images img imgs picture pictures xray xrays
x ray rays radiograph radiographs train training val valid validation dev test testing input raw folder the of and
final new processed version
"""
#: Class names of any data set: a folder that has them may be of another disease.
_ANY_CLASS = """
normal abnormal positive negative pos neg true false yes no healthy sick ill diseased disease benign malignant
case cases control controls class label grade other none unknown
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a source may be meant to say.

    Attributes:
        sources: folders that fit equally well; several that are to stand together if `sure`.
        sure: nothing else fits as well.
    """

    sources: tuple[SourceFolder, ...] = ()
    sure: bool = False


class Lookup:
    """The folders below a root, each listed once; the whole tree is walked when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, Folder] = {}
        self._tree: Tree | None = None
        self._above: dict[str, list[str]] = {}

    def is_there(self, path: str) -> bool:
        """Tell whether there is such a folder; links are followed, as they are when images are listed."""
        return os.path.isdir(self.root / path)

    def folder(self, path: str) -> Folder:
        """Return what lies in a folder."""
        if path not in self._listed:
            seen = self._tree.folders.get(path) if self._tree else None
            self._listed[path] = seen or list_folder(self.root, path)
        return self._listed[path]

    def tree(self) -> Tree:
        """Return all folders below the root, as far as the walk goes."""
        if self._tree is None:
            self._tree = walk(self.root)
            above = defaultdict(list)
            for path, found in self._tree.folders.items():
                for name in {fold(name) for name in found.folders}:
                    above[name].append(path)
            self._above = dict(above)
        return self._tree

    def above(self, name: str) -> list[str]:
        """Return the folders that have a sub-folder of this name, as it counts when folded."""
        self.tree()
        return self._above.get(fold(name), [])


def find_path(
    look: Lookup, place: str, path: str, *, close: bool = False, without: Collection[str] = ()
) -> str | None:
    """Return the folder that is meant by a path below `place`, part by part; None where one part is not there.

    Args:
        look: the folders.
        place: where to begin, relative to the root.
        path: below `place`.
        close: take a name that is merely near where none is the same.
        without: folders, relative to the root, that are meant by other names.
    """
    reached = place
    for part in PurePosixPath(path).parts:
        names = [n for n in look.folder(reached).folders if is_text(n) and joined(reached, n) not in without]
        found = same_name(part, names) or (close_name(part, names) if close else None)
        if found is None:
            return None
        reached = joined(reached, found)
    return reached


def find_classes(
    look: Lookup, place: str, names: Iterable[str], *, close: bool = False
) -> dict[str, str | None]:
    """Return for each class folder below `place` the name that it has there, or None."""
    names = list(names)
    found: dict[str, str | None] = {
        name: name if look.is_there(joined(place, plain(name))) else None for name in names
    }
    for nearness in (False, True) if close else (False,):
        for name in (name for name in names if found[name] is None):
            claimed = {joined(place, plain(its)) for its in found.values() if its is not None}
            found[name] = _below(find_path(look, place, name, close=nearness, without=claimed), place)
    return found


def deepest(look: Lookup, path: str) -> tuple[str, tuple[str, ...]]:
    """Return the deepest part of a path that is there, and the names below it that are not."""
    parts = PurePosixPath(path).parts
    for n in range(len(parts), 0, -1):
        if look.is_there("/".join(parts[:n])):
            return "/".join(parts[:n]), parts[n:]
    return ".", parts


def propose(
    look: Lookup, disease: str, source: SourceFolder, *, taken: Collection[str], elsewhere: Collection[str]
) -> Proposal:
    """Return where the images of a source may be whose class folders are not where it says.

    A path that is the same but for case, spaces and the like comes first, then one whose names are near and
    which has the class folders, then any that has them: nearest to where it was looked for, then with the most
    words of what was looked for.

    Args:
        look: the folders.
        disease: key of the catalog, a word to look for.
        source: as it stands.
        taken: class folders that the same disease reads; what holds them, or lies in them, is never proposed.
        elsewhere: those that other diseases read; proposed only if nothing else fits.
    """
    folder = plain(source.folder)

    def free(place: str, among: Collection[str]) -> bool:
        return not any(is_within(place, other) or is_within(other, place) for other in among)

    same = find_path(look, ".", folder)
    if same is not None and same != folder and free(same, taken):
        return Proposal((fitting(look, source, same) or replace(source, folder=same),), sure=True)
    near = find_path(look, ".", folder, close=True)
    if near is not None and (near == folder or not free(near, taken)):
        near = None
    if near is not None and (fits := fitting(look, source, near, close=True)):
        return Proposal((fits,), sure=free(near, elsewhere) or _is_telling(source))
    found = [other for other in _holding(look, source) if free(other.folder, taken)]
    unread = [other for other in found if free(other.folder, elsewhere)]
    if found:
        return _best(look, disease, source, found=unread or found, is_free=bool(unread))
    return Proposal((replace(source, folder=near),) if near is not None else ())


def fitting(look: Lookup, source: SourceFolder, folder: str, *, close: bool = False) -> SourceFolder | None:
    """Return the source as it would read with this folder; None where a class folder is not there.

    Split folders are looked for as well, first where the source names some.
    """
    ways = [_fits_split, _fits_directly] if source.splits else [_fits_directly, _fits_split]
    return next((fits for way in ways if (fits := way(look, source, folder, close))), None)


def split_names(source: SourceFolder, split: str) -> list[str]:
    """Return what the folder of a split may be called: as the source says, or as is usual."""
    return [*(name for its, name in source.splits if its == split), *SPLIT_NAMES[split]]


def _fits_directly(look: Lookup, source: SourceFolder, folder: str, close: bool) -> SourceFolder | None:
    found = find_classes(look, folder, [name for name, _ in source.classes], close=close)
    classes = tuple((its, label) for name, label in source.classes if (its := found[name]) is not None)
    if len(classes) < len(source.classes):
        return None
    return SourceFolder(folder, classes)


def _fits_split(look: Lookup, source: SourceFolder, folder: str, close: bool) -> SourceFolder | None:
    classes, splits = None, []
    for split in SPLIT_NAMES:
        for name in split_names(source, split):
            between = find_path(look, folder, name)
            fits = between is not None and _fits_directly(look, source, between, close)
            # One spelling of the classes for all splits: the catalog knows no other.
            if between is not None and fits and fits.classes == (classes or fits.classes):
                classes = fits.classes
                splits.append((split, _below(between, folder) or name))
                break
    enough = len(splits) > 1 or [split for split, _ in source.splits] == ["train"]
    if classes is None or not enough or splits[0][0] != "train":
        return None
    return SourceFolder(folder, classes, tuple(splits))


def _holding(look: Lookup, source: SourceFolder) -> list[SourceFolder]:
    """Return the source with every folder below the root that has its class folders with images in them."""
    firsts = [PurePosixPath(name).parts[:1] for name, _ in source.classes]
    if not firsts or not all(firsts):  # the class folder is the source itself: any folder would do
        return []
    places = set.intersection(*(set(look.above(first)) for (first,) in firsts))
    usual = {fold(name) for split in SPLIT_NAMES for name in split_names(source, split)}
    places |= {parent(place) for place in places if fold(place.rpartition("/")[2]) in usual and place != "."}
    tree, found = look.tree(), {}
    for place in sorted(places, key=lambda place: (place.count("/") + (place != "."), place)):
        # What lies below a folder that fits is a part or a copy of it.
        if any(above in found for above in ancestors(place)) or not is_text(place):
            continue
        fits = fitting(look, source, place)
        if fits and all(
            tree.holds_images(c.path) for c in fits.class_folders("") if c.shipped_split in (None, "train")
        ):
            found[place] = fits
    return list(found.values())


def _best(
    look: Lookup, disease: str, source: SourceFolder, *, found: Sequence[SourceFolder], is_free: bool
) -> Proposal:
    reached, _ = deepest(look, plain(source.folder))
    near = {other.folder: _common(other.folder, reached) for other in found}
    found = [other for other in found if near[other.folder] == max(near.values())]
    likeness = _likeness([*words(source.folder), *words(disease)], [other.folder for other in found])
    best = max(likeness.values())
    found = [other for other in found if likeness[other.folder] >= best - _EQUAL]
    siblings = len({parent(other.folder) for other in found}) == 1 and len(found) <= MAX_TOGETHER
    # A folder with such classes as `negative` and `positive` may be of any disease: a word of the path must agree.
    agrees = _is_telling(source) or (is_free and (best >= 1 - _EQUAL or not _is_missing(look, source)))
    return Proposal(tuple(found), sure=siblings and agrees)


def _likeness(wanted: Iterable[str], paths: Iterable[str]) -> Mapping[str, float]:
    """Return for each path how many of the wanted words it has; a word that is merely alike counts in part."""
    common = frozenset(_COMMON.split())
    weights = {word: 0.1 if word in common else 1.0 for word in wanted if len(word) > 1}
    alike: dict[str, dict[str, float]] = {}
    scores = {}
    for path in paths:
        for word in set(words(path)) - set(alike):
            alike[word] = {w: weight * _alike(w, word) for w, weight in weights.items()}
        scores[path] = sum(max((alike[v][w] for v in words(path)), default=0.0) for w in weights)
    return scores


def _alike(word: str, other: str) -> float:
    """Return 1 for the same word, 0 for another one."""
    if word == other:
        return 1.0
    if min(len(word), len(other)) < 4:
        return 0.0
    if word in other or other in word:
        return 0.9
    # 0.75 tells osteoporosis from osteoarthritis (0.62) and takes cardiomelgy for cardiomegaly (0.87).
    ratio = difflib.SequenceMatcher(None, word, other, autojunk=False).ratio()
    return ratio if ratio >= 0.75 else 0.0


def _is_telling(source: SourceFolder) -> bool:
    """Tell whether the names of the class folders say which disease it is."""
    named = {word for name, _ in source.classes for word in words(name)}
    return any(len(word) > 3 and not word.isdigit() and word not in _ANY_CLASS.split() for word in named)


def _is_missing(look: Lookup, source: SourceFolder) -> bool:
    return not look.is_there(plain(source.folder))


def _common(path: str, reached: str) -> int:
    """Return how many folders lie above both, from the root."""
    pairs = zip(PurePosixPath(path).parts, PurePosixPath(reached).parts, strict=False)
    return next(
        (n for n, (one, other) in enumerate(pairs) if one != other), min(_depth(path), _depth(reached))
    )


def _depth(path: str) -> int:
    return len(PurePosixPath(path).parts)


def _below(path: str | None, place: str) -> str | None:
    return path if path is None or place == "." else path.removeprefix(place + "/")
