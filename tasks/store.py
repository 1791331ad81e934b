"""The home folder: what stands where.

The one file that touches run artifacts on disk; the cache of pixels and features is `tasks/cache.py`.

    facts/<root>-<decoder>.parquet   manifests/<disease>-<key>.parquet   splits/<disease>-<rule>.parquet
    evidence/<disease>-<key>-<kind>.parquet   accepted/<disease>-<root>.parquet   known/<kind>/<key>.json
    cache/{pixels,features}/<space>/                        runs/<run>/<disease>/
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_checks.images.image_facts import DECODER
from tasks.files import write_atomically


def write_table(path: Path, table: pa.Table) -> Path:
    """Write an arrow table as Parquet whose pages carry checksums: a flipped bit is an error, not a value."""
    return write_atomically(
        path, lambda file: pq.write_table(table, file, compression="zstd", write_page_checksum=True)
    )


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file of the home folder."""
    return pq.read_table(path, columns=columns, page_checksum_verification=True)


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Used rows of one split in the order of their images, which has nothing to do with their labels.

    Attributes:
        images: (n,) sha256 of each image.
        labels: (n,) float32, 0 or 1.
        groups: (n,) what resampling must not part: the patient, or the group of near-duplicates.
    """

    images: list[str]
    labels: np.ndarray
    groups: list[str]


def read_rows(manifest: Path, split: str) -> LabelledRows:
    """Read the used rows of one split; rows of the other splits are not read."""
    # Excluded rows have no split, so the filter leaves them out as well.
    table = pq.read_table(
        manifest,
        columns=["image", "label", "group"],
        filters=[("split", "=", split)],
        page_checksum_verification=True,
    )
    table = table.sort_by("image")
    labels = table["label"].to_numpy().astype(np.float32)
    return LabelledRows(table["image"].to_pylist(), labels, table["group"].to_pylist())


def image_paths(manifest: Path) -> dict[str, str]:
    """Return the file of every used image, relative to the data root."""
    table = read_table(manifest, ["image", "path", "split"])
    table = table.filter(table["split"].is_valid())
    return dict(zip(table["image"].to_pylist(), table["path"].to_pylist(), strict=True))


def facts_path(home: Path, root: Path) -> Path:
    """Return where the facts of a data root are kept; the root's own path does not leave the name."""
    return home / "facts" / f"{_root_digest(root)}-{DECODER}.parquet"


def _root_digest(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]


def manifest_path(home: Path, disease: str, key: str) -> Path:
    """Return where a manifest is kept, by the digest of all that decides it, paths included."""
    return home / "manifests" / f"{disease}-{key[:16]}.parquet"


def evidence_path(home: Path, disease: str, key: str, kind: str) -> Path:
    """Return where what stands beside a manifest is kept, facts or evidence, by the digest of all that decides it."""
    return home / "evidence" / f"{disease}-{key[:16]}-{kind}.parquet"


def accepted_path(home: Path, disease: str, root: Path) -> Path:
    """Return where it is noted what a disease was last trained on, of the files below one root."""
    return home / "accepted" / f"{disease}-{_root_digest(root)}.parquet"


def watch_path(home: Path, root: Path, profile: str) -> Path:
    """Return where it is noted what the last look at a data root saw, for one profile."""
    return home / "watch" / f"{profile}-{_root_digest(root)}.json"


def remember(home: Path, kind: str, key: str, content: bytes) -> None:
    """Keep what was found out, as JSON, under a digest of all that it was found out from.

    Raises:
        StorageError: the home folder cannot be written.
    """
    write_atomically(_known_path(home, kind, key), lambda file: file.write(content))


def recall(home: Path, kind: str, key: str) -> bytes | None:
    """Return what was remembered under a key, or None; what is older than the key's parts cannot be found."""
    try:
        return _known_path(home, kind, key).read_bytes()
    except FileNotFoundError:
        return None


def _known_path(home: Path, kind: str, key: str) -> Path:
    return home / "known" / kind / f"{key[:32]}.json"


def ledger_path(home: Path, disease: str, rule_digest: str) -> Path:
    """Return where it is noted which split each image was given, under one rule of splitting."""
    return home / "splits" / f"{disease}-{rule_digest}.parquet"


def disease_folder(home: Path, run_id: str, disease: str) -> Path:
    """Return the folder of one disease of one run."""
    return home / "runs" / run_id / disease
