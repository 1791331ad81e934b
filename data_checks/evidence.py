"""What the rules look at: of every file of a disease what was measured, and of every disease what its sources bring.

In: manifest rows, facts, and which images are copies of which. Out: the contract's tables EVIDENCE, FOLDERS, CLASSES
and COUNTS. Measured, not judged: no limit stands here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from data_checks.contract import CLASSES, COUNTS, ENDINGS, EVIDENCE, FOLDERS, SPLITS, Column
from data_checks.copies.components import clusters
from data_checks.folders.sources import ClassFolder
from data_checks.images.polarity import polarity
from data_checks.reasons import EXCLUDED


@dataclass(frozen=True, slots=True)
class Copies:
    """Which images of one disease are copies of which, without being byte-identical.

    Attributes:
        images: (n,) sha256 of each distinct image.
        pairs: (m, 2) int64, indices of images of which one is a copy of the other.
        turned: (m,) bool, whether one of the pair is flipped or turned.
        named: paths of files whose name says that they were made from another file.
    """

    images: pd.Index
    pairs: np.ndarray
    turned: np.ndarray
    named: frozenset[str]


@dataclass(frozen=True, slots=True)
class Shipped:
    """What is to be said of the split and the patients that a source ships: the contract's SHIPPED without the disease."""

    test_images: int
    leaking: int
    identical: int
    patients: int
    refused: bool
    unmatched: bool
    missed: int
    unknown: bool


def gather(rows: pd.DataFrame, facts: pd.DataFrame, copies: Copies) -> pd.DataFrame:
    """Return the evidence of one disease, one row per manifest row.

    Args:
        rows: its manifest.
        facts: indexed by path; columns format, width, height, contrast, white, thumbnail, border.
        copies: which images are copies; `elsewhere` is left False, for it takes all diseases.
    """
    known = facts.loc[rows["path"]].reset_index(drop=True)
    sides = known[["width", "height"]]
    pairs = _flags(rows, copies)
    found = pd.DataFrame(
        {
            "disease": rows["disease"],
            "path": rows["path"],
            "image": rows["image"],
            "label": rows["label"],
            "split": rows["split"],
            "reason": rows["reason"],
            "format": known["format"],
            "named_format": [_claimed(path) for path in rows["path"]],
            "shortest": sides.min(axis=1),
            "aspect": sides.max(axis=1) / sides.min(axis=1).where(sides.min(axis=1) > 0),
            "contrast": known["contrast"],
            "white": known["white"],
            "polarity": _polarity(rows, known),
            **pairs,
            "named_copy": rows["path"].isin(copies.named),
            "elsewhere": False,
        }
    )
    return found[[column.name for column in EVIDENCE]]


def count_folders(disease: str, rows: pd.DataFrame, folders: Iterable[ClassFolder]) -> pd.DataFrame:
    """Return how many files each class folder holds, and how many of them can be read."""
    rows = rows[rows["reason"] != "sidecar"]
    readable = rows["reason"].isna() | rows["reason"].isin(list(EXCLUDED))
    counted = []
    for path in dict.fromkeys(folder.path for folder in folders):
        inside = rows["path"].str.startswith(f"{path}/")
        counted.append((disease, path, int(inside.sum()), int((inside & readable).sum())))
    return _table(counted, FOLDERS)


def count_classes(disease: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return how many images of each class are used, and their share."""
    used = rows.loc[rows["reason"].isna(), "label"]
    counts = [int((used == label).sum()) for label in (0, 1)]
    total = sum(counts)
    return _table(
        [(disease, label, n, n / total if total else None) for label, n in enumerate(counts)], CLASSES
    )


def count_splits(disease: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return how many images of each class each split holds."""
    used = rows[rows["reason"].isna()]
    counted = []
    for split in SPLITS:
        for label in (0, 1):
            part = used[(used["split"] == split) & (used["label"] == label)]
            counted.append((disease, split, label, len(part)))
    return _table(counted, COUNTS)


def _table(rows: list[tuple], columns: tuple[Column, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[column.name for column in columns])


def _claimed(path: str) -> str | None:
    return ENDINGS.get(PurePosixPath(path).suffix.lower().removeprefix("."))


def _polarity(rows: pd.DataFrame, known: pd.DataFrame) -> pd.Series:
    """Measure the used images only: files that take no part must not sway what is typical."""
    used = (rows["reason"].isna() & known["thumbnail"].notna()).to_numpy()
    found = pd.Series(np.nan, rows.index)
    if used.any():
        thumbnails = _bytes(known.loc[used, "thumbnail"])
        found[used] = polarity(thumbnails, _bytes(known.loc[used, "border"]))
    return found


def _bytes(column: pd.Series) -> np.ndarray:
    return np.frombuffer(b"".join(column), np.uint8).reshape(len(column), -1)


def _flags(rows: pd.DataFrame, copies: Copies) -> dict[str, pd.Series]:
    """Return for each row whether its image is a copy as it stands, turned, or stands in both classes."""
    n = len(copies.images)
    copied, turned = (np.zeros(n, dtype=bool) for _ in range(2))
    left, right = copies.pairs[:, 0], copies.pairs[:, 1]
    for flag, chosen in ((copied, ~copies.turned), (turned, copies.turned)):
        flag[left[chosen]] = flag[right[chosen]] = True
    # By whole clusters: of equal hashes only one is paired with the rest.
    cluster = pd.Series(clusters(n, copies.pairs), copies.images)
    used = rows[rows["reason"].isna()]
    labels = used["label"].groupby(used["image"].map(cluster)).nunique()
    contradicted = cluster.map(labels).to_numpy() > 1
    place = copies.images.get_indexer(pd.Index(rows["image"]))
    is_known = place >= 0
    return {
        name: pd.Series(np.where(is_known, flag[place] if n else False, False), rows.index, dtype=bool)
        for name, flag in (("contradicted", contradicted), ("turned", turned), ("copied", copied))
    }
