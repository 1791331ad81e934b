"""Are the folders there that the catalog names? The first check, before any file is opened.

In: the data root and the class folders wanted. Out: findings, each with the nearest name that is there.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from data_checks.findings import Finding
from data_checks.sources import ClassFolder


def check_layout(root: Path, wanted: Iterable[ClassFolder]) -> list[Finding]:
    """Return a finding for every source folder and class folder that is not there.

    A missing source is said once, not once per class.
    """
    findings: dict[tuple[str, str], Finding] = {}
    for folder in wanted:
        code, missing = "class_folder_missing", folder.path
        if not os.path.isdir(root / folder.source):
            code, missing = "source_missing", folder.source
        elif os.path.isdir(root / folder.path):
            continue
        findings.setdefault((folder.disease, missing), _missing(root, folder, code, missing))
    return list(findings.values())


def _missing(root: Path, folder: ClassFolder, code: str, missing: str) -> Finding:
    disease = folder.disease
    parent, name = _first_missing(root, missing)
    beside = folders_in(root / parent)
    near = _nearest(name, beside)
    there = f"there are {', '.join(repr(b) for b in beside[:8])}{' ...' if len(beside) > 8 else ''}"
    looked = f"'{missing}' was looked for below the data root; '{parent}' has no folder '{name}'"
    kind = "source folder" if code == "source_missing" else "class folder"
    if near is None:
        fix = f"put the images there, or name the right {kind} of [diseases.{disease}] in your diseases.toml"
        return Finding(disease, code, "fail", f"{looked}; {there if beside else 'it is empty'}.", fix)
    mended = parent / near / PurePosixPath(missing).relative_to(parent / name)
    if code == "source_missing":
        key, said = "folder as", mended
    elif folder.shipped_split is None:
        key, said = "class name as", mended.relative_to(folder.source)
    else:  # it may be the split's folder, or the class in it
        key, said = "split and class so that they lead to", mended
    said = json.dumps(str(said), ensure_ascii=False)
    fix = f"in [[diseases.{disease}.sources]] of your diseases.toml, write the {key} {said}"
    return Finding(disease, code, "fail", f"{looked}; did you mean '{near}'? ({there})", fix)


def folders_in(place: Path) -> list[str]:
    """Return the names of the folders there, sorted; none where it may not be listed."""
    try:
        return sorted(item.name for item in os.scandir(place) if item.is_dir())
    except OSError:
        return []


def _first_missing(root: Path, missing: str) -> tuple[PurePosixPath, str]:
    """Return the deepest part of the path that is there, and the name that is not in it."""
    reached = PurePosixPath(".")
    for part in PurePosixPath(missing).parts:
        if not os.path.isdir(root / reached / part):
            return reached, part
        reached /= part
    return reached, ""


def _nearest(name: str, beside: list[str]) -> str | None:
    folded = {_fold(b): b for b in beside}
    near = difflib.get_close_matches(_fold(name), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def _fold(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
