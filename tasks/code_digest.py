"""Which code a result comes from: one digest over all that decides it, so that changed code is never taken for the same."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import data_checks
import tasks

#: Of files in the packages; catalogs and weights are named in the plan, by figures and by digest.
_SUFFIXES = {".py", ".toml"}


@functools.lru_cache(maxsize=1)
def code_digest() -> str:
    """Return 64 hexadecimal digits over the code of `tasks` and `data_checks`, as it stands on the disk."""
    return digest_of([Path(package.__file__ or "").parent for package in (data_checks, tasks)])


def digest_of(folders: list[Path]) -> str:
    """Return 64 hexadecimal digits over the code below these folders: names and bytes, in a fixed order."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES):
            name = path.relative_to(folder.parent).as_posix()
            if not name.startswith("tasks/catalog/"):
                content = path.read_bytes()
                digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
