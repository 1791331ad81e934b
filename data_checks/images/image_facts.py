"""Image facts: what one file's bytes are, measured and not judged. Here begins the way of the data.

Bytes in, ImageFacts and gray pixels out. `decode` is the one decoder: checks, training and prediction all read through it, so
all see the same pixels. No bytes, however broken or hostile, raise anything but UnreadableImage, or warn.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from data_checks.copies.perceptual_hash import SHRUNKEN_SIDE, perceptual_hash
from data_checks.images.raster import FORMATS, read_raster
from data_checks.images.unreadable import Header, UnreadableImage, silence_libraries

__all__ = ["DECODER", "MAX_PIXELS", "ImageFacts", "UnreadableImage", "decode", "measure"]

#: Changes whenever `measure` or `decode` gives something else for the same bytes: it is part of the name of the facts, of every key of
#: the cache, and of the rule of splitting (the perceptual hash ties images together).
DECODER = "2"
#: The largest radiographs in use have about 20 million pixels; a file that claims more than this is not decoded.
MAX_PIXELS = 64_000_000

_DICOM_MARK, _DICOM_MARK_AT = b"DICM", 128
# A DICOM data set without preamble: its first element is of group 0002 or 0008, an early one, and either names its type
# in two letters or has a length below 256.
_BARE_DICOM = re.compile(rb"[\x02\x08]\0[\0-\x20]\0(?:[A-Z]{2}|.\0\0\0)", re.DOTALL)
_LFS = re.compile(rb"version https://git-lfs\.github\.com/spec/")
# zip (also .docx and .npz), gzip, bzip2, xz, 7z, rar, zstd; tar says what it is at byte 257.
_ARCHIVE = re.compile(
    rb"PK(?:\x03\x04|\x05\x06|\x07\x08)|\x1f\x8b\x08|BZh[1-9](?:1AY&SY|\x17rE8P\x90)|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c"
    rb"|Rar!\x1a\x07|\x28\xb5\x2f\xfd"
)
_TAR_MARK, _TAR_MARK_AT = b"ustar", 257

_LEVELS = np.arange(256.0)
_THUMBNAIL_SIDE = 8
# Burned-in frames, letters and black bars of one source lie in the outermost pixels.
_BORDER_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of one file. Where it is unreadable, what its header tells, and None for the rest."""

    sha256: str  # hex digest of the file's bytes
    format: str | None  # by content: a value of data_checks.contract.FORMATS; None if not an image
    width: int | None  # px, of the upright image
    height: int | None  # px, of the upright image
    mode: (
        str | None
    )  # as stored: Pillow's L, RGB, RGBA, P, CMYK, I;16, LA, 1, F..., or DICOM's MONOCHROME1...
    bits: int | None  # bits of a sample as stored: 1, 8, 12, 16...
    mean: float | None  # of the gray pixels, 0-255
    contrast: float | None  # standard deviation of the gray pixels, 0-127.5
    black: float | None  # share of gray pixels at exactly 0, 0-1
    white: float | None  # share of gray pixels at exactly 255, 0-1
    border: bytes | None  # 8 gray levels, see _border
    thumbnail: bytes | None  # 64 gray levels: the image shrunk to 8 x 8, each the mean of an area, row by row
    phash: bytes | None  # 32 bytes, see data_checks.copies.perceptual_hash
    patient: str | None  # DICOM: 16 hexadecimal digits, see data_checks.images.dicom; else None
    unreadable: str | None  # a key of UNREADABLE; None if readable


def measure(data: bytes, *, max_pixels: int) -> tuple[ImageFacts, np.ndarray | None]:
    """Measure one file.

    Args:
        data: All bytes of the file.
        max_pixels: Largest width times height that is decoded, at least 1.

    Returns:
        The facts, and the gray pixels, (height, width) uint8, or None if the file is unreadable.
    """
    digest = hashlib.sha256(data).hexdigest()
    try:
        header, gray = _read(data, max_pixels=max_pixels)
    except UnreadableImage as error:
        return _unread(digest, error), None
    image = Image.fromarray(gray)
    # Pillow counts 8-bit levels about eight times as fast as np.bincount, which first widens them to 64 bits.
    shares = np.array(image.histogram()) / gray.size
    mean = float(shares @ _LEVELS)
    # Shrunk once for both: the hash of the shrunken image is the image's own, and shrinking again for the thumbnail would
    # cost a fifth of the whole measuring.
    small = image.resize((SHRUNKEN_SIDE, SHRUNKEN_SIDE), Image.Resampling.BILINEAR)
    facts = ImageFacts(
        sha256=digest,
        format=header.format,
        width=gray.shape[1],
        height=gray.shape[0],
        mode=header.mode,
        bits=header.bits,
        mean=mean,
        contrast=float(np.sqrt(shares @ (_LEVELS - mean) ** 2)),
        black=float(shares[0]),
        white=float(shares[255]),
        border=_border(gray),
        thumbnail=small.reduce(SHRUNKEN_SIDE // _THUMBNAIL_SIDE).tobytes(),
        phash=perceptual_hash(np.asarray(small)),
        patient=header.patient,
        unreadable=None,
    )
    return facts, gray


def decode(data: bytes, *, max_pixels: int) -> np.ndarray:
    """Decode one file to gray pixels, upright.

    Gray and bilevel are kept as stored (bilevel: 0 and 255). Colour becomes luma (ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B);
    three equal channels give exactly that channel. JPEG stores luma already: it is taken as it is, as tf.io.decode_jpeg
    does for one channel; only where saturated colour clips in RGB can it differ from luma computed back. Alpha is dropped, not blended: the pixels are those that every
    other tool's gray conversion gives, and no background colour has to be invented. More than 8 bits a gray pixel are
    mapped linearly from the image's own minimum and maximum to 0 and 255, a constant image to 0; NaN counts as the minimum.
    16-bit colour keeps its high bytes. DICOM is drawn as its header asks, see data_checks.images.dicom_gray.

    Args:
        data: All bytes of the file.
        max_pixels: Largest width times height that is decoded, at least 1.

    Returns:
        (height, width) uint8, 0-255, C-contiguous, possibly read-only.

    Raises:
        UnreadableImage: The bytes are no image that can be decoded in full; its `reason` is a key of UNREADABLE.
    """
    return _read(data, max_pixels=max_pixels)[1]


def _read(data: bytes, *, max_pixels: int) -> tuple[Header, np.ndarray]:
    """Return what the header says and the gray pixels."""
    kind = _format_of(data)
    silence_libraries()
    if kind != "DICOM":
        return read_raster(kind, data, max_pixels=max_pixels)
    from data_checks.images.dicom import read_dicom  # with pydicom behind it, which takes 0.3 s to import

    return read_dicom(data, max_pixels=max_pixels)


def _format_of(data: bytes) -> str:
    """Return the format that the first bytes show, never the file's name."""
    # First: a preamble may hold the beginning of a TIFF, so that other programs read the pixels beside the DICOM.
    if data.startswith(_DICOM_MARK, _DICOM_MARK_AT):
        return "DICOM"
    for kind, (signature, _) in FORMATS.items():
        if signature.match(data):
            return kind
    if not data:
        raise UnreadableImage("empty_file", "0 bytes")
    if _LFS.match(data):
        raise UnreadableImage("git_lfs_pointer", f"a text of {len(data)} bytes")
    if _ARCHIVE.match(data) or data.startswith(_TAR_MARK, _TAR_MARK_AT):
        raise UnreadableImage("archive", f"begins with {data[:8]!r}")
    if _BARE_DICOM.match(data):
        return "DICOM"
    raise UnreadableImage("not_an_image", f"begins with {data[:8]!r}")


def _unread(digest: str, error: UnreadableImage) -> ImageFacts:
    header = error.header
    # Headers claim sides of up to 2**32 px; the table holds what fits into its column.
    width, height = (
        (side if 0 <= side < 1 << 31 else None for side in header.size) if header.size else (None, None)
    )
    return ImageFacts(
        sha256=digest,
        format=header.format,
        width=width,
        height=height,
        mode=header.mode,
        bits=header.bits,
        mean=None,
        contrast=None,
        black=None,
        white=None,
        border=None,
        thumbnail=None,
        phash=None,
        patient=header.patient,
        unreadable=error.reason,
    )


def _border(gray: np.ndarray) -> bytes:
    """Return the mean gray along the border, each of 2 % of the side and at least 1 px, rounded.

    Args:
        gray: (height, width) uint8.

    Returns:
        8 bytes: top, right, bottom, left edge; top-left, top-right, bottom-right, bottom-left corner.
    """
    height, width = gray.shape
    rows, columns = (max(1, round(_BORDER_SHARE * side)) for side in (height, width))
    top, bottom = gray[:rows], gray[-rows:]
    parts = (
        top,
        gray[:, -columns:],
        bottom,
        gray[:, :columns],
        top[:, :columns],
        top[:, -columns:],
        bottom[:, -columns:],
        bottom[:, :columns],
    )
    # np.add.reduce: a quarter less time than part.sum, on eight parts of every image. No edge has 2**32 / 255 pixels.
    return bytes(round(int(np.add.reduce(part, axis=None, dtype=np.uint32)) / part.size) for part in parts)
