"""Stage: findings -> the user's catalog. Writes the lines that mend it, and nothing else.

In: the mends that findings carry, and the user's catalog folder. Out: its `diseases.toml`, and what became different.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data_checks.folders.sources import Mend
from tasks.core.errors import CatalogError, StorageError
from tasks.core.mending import difference, mended
from tasks.files import write_atomically


@dataclass(frozen=True, slots=True)
class Mended:
    """What is written: which file, its whole text, and how it differs from what was there."""

    path: Path
    text: str
    difference: str


def plan_mend(catalog: Path | None, mends: Iterable[Mend]) -> Mended:
    """Return what would be written, and write nothing.

    Args:
        catalog: the user's catalog folder; it need not be there yet.
        mends: of the findings.

    Raises:
        CatalogError: no catalog folder was named; the shipped catalog is never changed.
    """
    if catalog is None:
        raise CatalogError(
            "There is no catalog of yours to mend.",
            where="--catalog",
            expected="a folder for your own diseases.toml; the shipped catalog is never changed",
            received="none",
            fix="name one, new or not: radtrain check --fix --catalog DIR",
        )
    path = catalog / "diseases.toml"
    before = path.read_bytes().decode("utf-8") if path.exists() else None
    after = mended(before, mends)
    return Mended(path, after, difference(before, after, path.name))


def write_mend(planned: Mended) -> None:
    """Write the mended catalog, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        write_atomically(planned.path, lambda file: file.write(planned.text.encode()))
    except (StorageError, OSError) as error:
        raise StorageError(
            "Your catalog cannot be written.",
            where=planned.path,
            expected="a file that can be written, on a disk with free space",
            received=getattr(error.__cause__ or error, "strerror", None),
            fix="make it writable for you, or copy its folder and name the copy: --catalog DIR",
        ) from error
