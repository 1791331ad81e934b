"""Where the images of a disease lie: source folders, class folders, and the mended sources that a check proposes.

What the catalog says of folders, as plain records; the catalog itself is `tasks/core/catalog.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class ClassFolder:
    """A folder whose images share a label.

    Attributes:
        disease: key of the catalog.
        source: source folder that it belongs to, relative to the root.
        path: the class folder, relative to the root, with / between folders.
        label: 1 positive, 0 negative, None unknown.
        shipped_split: train, validation or test, where the source ships a split.
    """

    disease: str
    source: str
    path: str
    label: int | None
    shipped_split: str | None


@dataclass(frozen=True, slots=True)
class SourceFolder:
    """A folder with a sub-folder per class; with `splits`, one level of split folders between.

    Attributes:
        folder: relative to the root, with / between folders.
        classes: name of each class folder with its label: 1 positive, 0 negative, None unknown.
        splits: train, validation or test, each with the name of its folder; empty where no split is shipped.
    """

    folder: str
    classes: tuple[tuple[str, int | None], ...]
    splits: tuple[tuple[str, str], ...] = ()

    def class_folders(self, disease: str) -> Iterator[ClassFolder]:
        """Yield every folder that must be there, with the label that its images have."""
        for split, between in self.splits or ((None, "."),):
            for name, label in self.classes:
                yield ClassFolder(
                    disease, plain(self.folder), plain(self.folder, between, name), label, split
                )


@dataclass(frozen=True, slots=True)
class Mend:
    """What the catalog should say instead.

    Attributes:
        disease: key of the catalog.
        sources: all sources of the disease, mended.
        line: the TOML line that mends it, as it would stand in `diseases.toml`.
        table: the table that the line belongs in, such as `[[diseases.pneumonia.sources]]`.
    """

    disease: str
    sources: tuple[SourceFolder, ...]
    line: str
    table: str


def plain(*parts: str) -> str:
    """Return one spelling of a folder: `a/`, `./a` and `a` are the same place."""
    return PurePosixPath(*parts).as_posix()
