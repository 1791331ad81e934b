"""When two names of folders mean the same, and what the endings of files promise.

In: names as they stand on disk and in the catalog. Out: the one that is meant, or None where it could be
several. Labels hang on these names, so a name is never taken for its contrary.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain

from data_checks.contract import ENDINGS
from data_checks.visible import visible

#: As in difflib.get_close_matches: two of five letters may differ.
CLOSE = 0.6
#: What folders of a split are called, folded, the most usual name first.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
#: A name that begins with one of these says the contrary of the rest: `abnormal`, `not fractured`, `uninfected`.
_CONTRARY = ("without", "anti", "non", "not", "neg", "mal", "dis", "un", "in", "im", "ab", "an", "no", "a")
#: A word more that turns a name round: `pneumonia negative`.
_DENIALS = {"no", "not", "non", "neg", "negative", "without", "free", "absent", "none", "never"}
#: Files without an ending that are no DICOM export.
_PAPERS = {"readme", "license", "licence", "dicomdir", "makefile", "authors", "changelog", "notes"}
#: Archives by their ending, the longest first, each with the command that unpacks it into a folder.
_UNPACK = {
    ".tar.bz2": "mkdir -p {into} && tar -xf {archive} -C {into}",
    ".tar.gz": "mkdir -p {into} && tar -xf {archive} -C {into}",
    ".tar.xz": "mkdir -p {into} && tar -xf {archive} -C {into}",
    ".tar.zst": "mkdir -p {into} && tar -xf {archive} -C {into}",
    ".tgz": "mkdir -p {into} && tar -xf {archive} -C {into}",
    ".tar": "mkdir -p {into} && tar -xf {archive} -C {into}",
    ".zip": "unzip {archive} -d {into}",
    ".rar": "mkdir -p {into} && unrar x {archive} {into}/",
    ".bz2": "mkdir -p {into} && bunzip2 -c {archive} > {into}/{stem}",
    ".7z": "7z x {archive} -o{into}",
    ".zst": "mkdir -p {into} && zstd -d -c {archive} > {into}/{stem}",
    ".gz": "mkdir -p {into} && gunzip -c {archive} > {into}/{stem}",
    ".xz": "mkdir -p {into} && unxz -c {archive} > {into}/{stem}",
}


def fold(name: str) -> str:
    """Return what counts of a name: case, spaces, hyphens, underscores and the form of accents do not."""
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return re.sub(r"[\s_\-\u2010-\u2015]+", "", text) or text


def same_name(name: str, there: Sequence[str]) -> str | None:
    """Return the name itself if it is there, else the only one that is equal when folded."""
    if name in there:
        return name
    equal = [other for other in there if fold(other) == fold(name)]
    composed = unicodedata.normalize("NFC", name)
    accents = [other for other in equal if unicodedata.normalize("NFC", other) == composed]
    found = accents or equal
    return found[0] if len(found) == 1 else None


def close_name(name: str, there: Sequence[str]) -> str | None:
    """Return the nearest of the names; None where none is near, or two are equally near."""
    wanted = fold(name)
    matcher = difflib.SequenceMatcher(None, b=wanted, autojunk=False)
    best, found = 0.0, []
    for other in there:
        matcher.set_seq1(fold(other))
        limit = max(CLOSE, best)
        if matcher.real_quick_ratio() < limit or matcher.quick_ratio() < limit:
            continue  # the quick ones are upper bounds: 5,000 names take 0.1 s instead of 0.5 s
        ratio = matcher.ratio()
        if ratio < limit or contrary(name, other):
            continue
        found = [*found, other] if ratio == best else [other]
        best = ratio
    return found[0] if len(found) == 1 else None


def contrary(name: str, other: str) -> bool:
    """Tell whether two names that look alike say different things: `normal` and `abnormal`, `grade1` and `grade2`."""
    digits, others = re.findall(r"\d+", name), re.findall(r"\d+", other)
    if digits and others and digits != others:
        return True
    more, fewer = sorted((words(name), words(other)), key=len, reverse=True)
    if len(more) > len(fewer) and _DENIALS & (set(more) - set(fewer)):
        return True
    return _denies(fold(name), fold(other)) or _denies(fold(other), fold(name))


def words(text: str) -> list[str]:
    """Return the words of a name or path: `Pneumonia_OrganizedSet2` has four."""
    letters = (re.split(r"(?<=[^\W\d_A-Z])(?=[A-Z])", part) for part in re.findall(r"\d+|[^\W\d_]+", text))
    return [word.casefold() for word in chain.from_iterable(letters)]


def shown(name: str) -> str:
    """Return a name in quotes, for a person: what cannot be seen is escaped."""
    return f"'{visible(name)}'"


def listed(names: Iterable[str], most: int = 8) -> str:
    """Return the first of the names in quotes."""
    names = list(names)
    return ", ".join(shown(name) for name in names[:most]) + (" ..." if len(names) > most else "")


def counted(n: int, noun: str) -> str:
    """Return `1 folder`, `2 folders`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def is_text(name: str) -> bool:
    """Tell whether a name can stand in a catalog: names that are no UTF-8 cannot."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def written(path: str) -> str:
    """Return a path as text that can be written; bytes that are no UTF-8 become question marks."""
    return path.encode("utf-8", "replace").decode("utf-8")


def is_image_name(name: str) -> bool:
    """Tell whether a file may be an image by its name; DICOM exports often have no ending, or a UID as name."""
    stem, dot, ending = name.rpartition(".")
    if not dot:
        return name.casefold() not in _PAPERS
    return ending.casefold() in ENDINGS or (ending.isdigit() and stem.replace(".", "").isdigit())


def archive_stem(name: str) -> str | None:
    """Return the name of an archive without its ending; None for what is no archive."""
    ending = next((ending for ending in _UNPACK if name.casefold().endswith(ending)), None)
    return name[: -len(ending)] if ending else None


def unpack_command(archive: str, into: str) -> str:
    """Return the line for a shell that unpacks an archive into a folder.

    Args:
        archive: path of the file.
        into: path of the folder, made where it is not there.
    """
    name = archive.rpartition("/")[2]
    stem = archive_stem(name) or name
    template = next(line for ending, line in _UNPACK.items() if name.casefold().endswith(ending))
    return template.format(archive=_quoted(archive), into=_quoted(into), stem=_quoted(stem))


def _quoted(text: str) -> str:
    """Return a word for a shell; what cannot be seen as the escapes of `$'...'`."""
    if visible(text) == text:
        return shlex.quote(text)
    safe = (chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in os.fsencode(text))
    return f"$'{''.join(safe)}'"


def _denies(longer: str, shorter: str) -> bool:
    """Tell whether one is the other behind a prefix that turns it round, misspelt or not."""
    whole = difflib.SequenceMatcher(None, longer, shorter, autojunk=False).ratio()
    rests = [longer.removeprefix(prefix) for prefix in _CONTRARY if not shorter.startswith(prefix)]
    return any(
        difflib.SequenceMatcher(None, rest, shorter, autojunk=False).ratio() > whole
        for rest in rests
        if rest and rest != longer
    )
