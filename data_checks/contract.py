"""The data contract: every column of the two tables that a run writes, and what it means.

`FACTS` has one row per file, `MANIFEST` one per image file and disease. The arrow schemas are made from
these tables, and so is every later check; a column that is not here does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name, arrow type, whether it may be empty, and what it says (with unit and range)."""

    name: str
    type: pa.DataType
    nullable: bool
    meaning: str


FACTS = (
    Column("path", pa.string(), False, "file, relative to the data root, with / between folders"),
    Column("bytes", pa.int64(), False, "size, bytes; -1 where it cannot be asked"),
    Column("mtime_ns", pa.int64(), False, "time of the last change, ns since 1970; -1 where unknown"),
    Column("sha256", pa.string(), True, "of the file's bytes, hexadecimal"),
    Column("format", pa.string(), True, "image format by content, not by name"),
    Column("width", pa.int32(), True, "px, as stored"),
    Column("height", pa.int32(), True, "px, as stored"),
    Column("mode", pa.string(), True, "pixel layout as stored: L, RGB, I;16 ..."),
    Column("mean", pa.float64(), True, "of the gray image, 0-255"),
    Column("contrast", pa.float64(), True, "standard deviation of the gray image, 0-127.5"),
    Column("clipped", pa.float64(), True, "share of pixels that are exactly 0 or 255, 0-1"),
    Column("phash", pa.binary(32), True, "perceptual hash, 256 bits"),
    Column("unreadable", pa.string(), True, "reason code; empty where the image can be read"),
)

MANIFEST = (
    Column("disease", pa.string(), False, "key of the catalog"),
    Column("path", pa.string(), False, "as in the facts"),
    Column("image", pa.string(), True, "sha256 of the bytes: equal for byte-identical files"),
    Column("label", pa.int8(), True, "1 positive, 0 negative, empty: unknown, which is not negative"),
    Column("patient", pa.string(), True, "as the catalog's pattern finds it in the path"),
    Column("group", pa.string(), True, "patients and near-duplicates that must not be parted"),
    Column("split", pa.string(), True, "train, validation or test; empty where excluded"),
    Column("reason", pa.string(), True, "why the row is excluded; empty where it is used"),
)

SPLITS = ("train", "validation", "test")

#: Why a manifest row takes no part. Unreadable files carry their own code from `image_facts.UNREADABLE`.
EXCLUDED = {
    "duplicate": "The same bytes stand in another file, which is used.",
    "contradictory_label": "The same bytes stand in both classes, so neither label can be believed.",
    "label_unknown": "The catalog lists its folder as unknown.",
    "links_splits": "It ties together images that were divided between splits before it came; they stay.",
}


def schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the arrow schema of a table of the contract, each field with its meaning as metadata."""
    return pa.schema(
        [pa.field(c.name, c.type, nullable=c.nullable, metadata={"meaning": c.meaning}) for c in columns]
    )
