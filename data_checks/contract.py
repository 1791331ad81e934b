"""The data contract: every column of every table that a check reads, what it means and which values it may have.

`FACTS` has one row per file, `MANIFEST` one per image file and disease, `EVIDENCE` what the rules judge of it; the
small tables hold one row per disease and count, probe or change. The arrow schemas, the suites of
expectations and the reference page are made from these tables; a column that is not here does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from data_checks.reasons import EXCLUDED, UNREACHABLE, UNREADABLE


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: of the column.
        type: arrow type.
        nullable: whether it may be empty.
        meaning: what it says, with unit and range.
        low: smallest value allowed.
        high: largest value allowed.
        values: all values allowed; empty: any.
        pattern: regular expression that a text fits as a whole.
        unique: no value twice.
    """

    name: str
    type: pa.DataType
    nullable: bool
    meaning: str
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    pattern: str | None = None
    unique: bool = False


SPLITS = ("train", "validation", "test")
#: What can predict the label without the anatomy; tasks/core/shortcuts.py measures how well.
PROBES = ("file_size", "dimensions", "format", "mode", "border", "thumbnail")
#: Image formats that are read, by content.
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "JPEG2000", "PPM", "DICOM")
#: Which format a file's ending claims.
ENDINGS = {
    **dict.fromkeys(("png",), "PNG"),
    **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif"), "JPEG"),
    **dict.fromkeys(("gif",), "GIF"),
    **dict.fromkeys(("tif", "tiff"), "TIFF"),
    **dict.fromkeys(("bmp",), "BMP"),
    **dict.fromkeys(("webp",), "WEBP"),
    **dict.fromkeys(("jp2", "j2k", "jpx", "jpf"), "JPEG2000"),
    **dict.fromkeys(("ppm", "pgm", "pbm", "pnm"), "PPM"),
    **dict.fromkeys(("dcm", "dicom", "dic"), "DICOM"),
}

_SHA256 = "[0-9a-f]{64}"
_SHORT_DIGEST = "[0-9a-f]{16}"
_KEY = "[a-z][a-z0-9_]*"
_REASONS = (*UNREACHABLE, *UNREADABLE, *EXCLUDED)

FACTS = (
    Column(
        "path", pa.string(), False, "file, relative to the data root, with / between folders", unique=True
    ),
    Column("bytes", pa.int64(), False, "size, bytes; -1 where it cannot be asked", low=-1),
    Column("mtime_ns", pa.int64(), False, "time of the last change, ns since 1970; -1 where unknown"),
    Column("sha256", pa.string(), True, "of the file's bytes, hexadecimal", pattern=_SHA256),
    Column("format", pa.string(), True, "image format by content, not by name", values=FORMATS),
    Column("width", pa.int32(), True, "px, of the upright image", low=0),
    Column("height", pa.int32(), True, "px, of the upright image", low=0),
    Column("mode", pa.string(), True, "pixel layout as stored: L, RGB, I;16, MONOCHROME1 ..."),
    Column("bits", pa.int32(), True, "bits of a sample as stored: 1, 8, 12, 16 ...", low=1, high=64),
    Column("mean", pa.float64(), True, "of the gray image, 0-255", low=0, high=255),
    Column(
        "contrast", pa.float64(), True, "standard deviation of the gray image, 0-127.5", low=0, high=127.5
    ),
    Column("black", pa.float64(), True, "share of pixels that are exactly 0, 0-1", low=0, high=1),
    Column("white", pa.float64(), True, "share of pixels that are exactly 255, 0-1", low=0, high=1),
    Column(
        "border", pa.binary(8), True, "mean gray along top, right, bottom, left edge and in the four corners"
    ),
    Column("thumbnail", pa.binary(64), True, "the gray image shrunk to 8 x 8, row by row"),
    Column("phash", pa.binary(32), True, "perceptual hash, 256 bits"),
    Column(
        "patient", pa.string(), True, "sha256 of a DICOM file's patient id, 16 digits", pattern=_SHORT_DIGEST
    ),
    Column(
        "unreadable",
        pa.string(),
        True,
        "reason code; empty where the image can be read",
        values=(*UNREACHABLE, *UNREADABLE),
    ),
)

MANIFEST = (
    Column("disease", pa.string(), False, "key of the catalog", pattern=_KEY),
    Column("path", pa.string(), False, "as in the facts"),
    Column(
        "image", pa.string(), True, "sha256 of the bytes: equal for byte-identical files", pattern=_SHA256
    ),
    Column(
        "label",
        pa.int8(),
        True,
        "1 positive, 0 negative, empty: unknown, which is not negative",
        low=0,
        high=1,
    ),
    Column(
        "patient", pa.string(), True, "as the catalog's pattern finds it in the path, or the DICOM file's"
    ),
    Column("group", pa.string(), True, "patients and copies that must not be parted", pattern=_SHORT_DIGEST),
    Column("split", pa.string(), True, "train, validation or test; empty where excluded", values=SPLITS),
    Column("reason", pa.string(), True, "why the row is excluded; empty where it is used", values=_REASONS),
)

EVIDENCE = (
    Column("disease", pa.string(), False, "key of the catalog", pattern=_KEY),
    Column("path", pa.string(), False, "as in the facts"),
    Column("image", pa.string(), True, "sha256 of the bytes", pattern=_SHA256),
    Column("label", pa.int8(), True, "as in the manifest", low=0, high=1),
    Column("split", pa.string(), True, "as in the manifest", values=SPLITS),
    Column("reason", pa.string(), True, "as in the manifest", values=_REASONS),
    Column("format", pa.string(), True, "image format by content", values=FORMATS),
    Column("named_format", pa.string(), True, "image format that the file's ending claims", values=FORMATS),
    Column("shortest", pa.int32(), True, "px, the shorter side", low=0),
    Column("aspect", pa.float64(), True, "longer side over shorter side, 1 and more", low=1),
    Column("contrast", pa.float64(), True, "as in the facts", low=0, high=127.5),
    Column("white", pa.float64(), True, "as in the facts", low=0, high=1),
    Column(
        "polarity",
        pa.float64(),
        True,
        "correlation of the thumbnail with the typical one of the disease, -1 to 1; far below 0: inverted",
        low=-1,
        high=1,
    ),
    Column(
        "contradicted", pa.bool_(), False, "of copies that are not byte-identical, some have the other label"
    ),
    Column("turned", pa.bool_(), False, "it is a flipped or quarter-turned copy of another image"),
    Column("copied", pa.bool_(), False, "it is a near-duplicate of another image, as it stands"),
    Column("named_copy", pa.bool_(), False, "its name says that it was made from another file"),
    Column("elsewhere", pa.bool_(), False, "another disease holds the same image or a copy of it"),
)

FOLDERS = (
    Column("disease", pa.string(), False, "key of the catalog", pattern=_KEY),
    Column("folder", pa.string(), False, "class folder, relative to the data root"),
    Column("files", pa.int64(), False, "files below it, sidecars not counted", low=0),
    Column("readable", pa.int64(), False, "those that can be read", low=0),
)

CLASSES = (
    Column("disease", pa.string(), False, "key of the catalog", pattern=_KEY),
    Column("label", pa.int8(), False, "1 positive, 0 negative", low=0, high=1),
    Column("images", pa.int64(), False, "used images", low=0),
    Column("share", pa.float64(), True, "of the used images of the disease, 0-1", low=0, high=1),
)

COUNTS = (
    Column("disease", pa.string(), False, "key of the catalog", pattern=_KEY),
    Column("split", pa.string(), False, "train, validation or test", values=SPLITS),
    Column("label", pa.int8(), False, "1 positive, 0 negative", low=0, high=1),
    Column("images", pa.int64(), False, "used images", low=0),
)

SHIPPED = (
    Column("disease", pa.string(), False, "key of the catalog", pattern=_KEY, unique=True),
    Column("test_images", pa.int64(), False, "images of the shipped test split; 0: none is shipped", low=0),
    Column("leaking", pa.int64(), False, "those tied to its training split, over other images too", low=0),
    Column("identical", pa.int64(), False, "those whose very bytes stand in the training split", low=0),
    Column("patients", pa.int64(), False, "patients that stand in several shipped splits", low=0),
    Column("refused", pa.bool_(), False, "the catalog asks for the shipped split, and it cannot be used"),
    Column("unmatched", pa.bool_(), False, "the catalog's pattern of patients matches no path"),
    Column(
        "missed", pa.int64(), False, "files whose patient a pattern that matches others does not find", low=0
    ),
    Column("unknown", pa.bool_(), False, "the catalog has no pattern, and no file tells its patient"),
)

AUDIT = (
    Column("disease", pa.string(), False, "key of the catalog", pattern=_KEY),
    Column("probe", pa.string(), False, "what alone predicts the label", values=PROBES),
    Column(
        "auroc",
        pa.float64(),
        False,
        "cross-validated by group on training and validation rows",
        low=0,
        high=1,
    ),
    Column("low", pa.float64(), True, "lower end of its 95 % interval", low=0, high=1),
    Column("high", pa.float64(), True, "upper end of its 95 % interval", low=0, high=1),
    Column("n", pa.int64(), False, "images", low=0),
    Column(
        "bare", pa.float64(), True, "the lower end, of a probe that shows no anatomy at all", low=0, high=1
    ),
    Column(
        "coarse", pa.float64(), True, "the lower end, of the thumbnail, which shows a little", low=0, high=1
    ),
)

CHANGES = (
    Column("disease", pa.string(), False, "key of the catalog", pattern=_KEY, unique=True),
    Column("before", pa.int64(), False, "used images of the last accepted manifest", low=0),
    Column("added", pa.int64(), False, "images used now, and not then", low=0),
    Column("removed", pa.int64(), False, "images used then, and not now", low=0),
    Column("relabelled", pa.int64(), False, "images used then and now, with the other label", low=0),
    Column("changed", pa.int64(), False, "added, removed and relabelled images together", low=0),
    Column(
        "shift",
        pa.float64(),
        False,
        "largest Kolmogorov-Smirnov distance of brightness, contrast, width and height between then and now, 0-1",
        low=0,
        high=1,
    ),
    Column(
        "moved",
        pa.float64(),
        False,
        "the shift where chance alone does not explain it, else 0",
        low=0,
        high=1,
    ),
)

#: Every table by its name.
TABLES = {
    "facts": FACTS,
    "manifest": MANIFEST,
    "evidence": EVIDENCE,
    "folders": FOLDERS,
    "classes": CLASSES,
    "counts": COUNTS,
    "shipped": SHIPPED,
    "audit": AUDIT,
    "changes": CHANGES,
}


def schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the arrow schema of a table of the contract, each field with its meaning as metadata."""
    return pa.schema(
        [pa.field(c.name, c.type, nullable=c.nullable, metadata={"meaning": c.meaning}) for c in columns]
    )
