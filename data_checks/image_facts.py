"""Image facts: what one file's bytes are, measured and not judged. Here begins the way of the data.

Bytes in, ImageFacts and gray pixels out. `decode` is the one decoder: checks, training and prediction all read through it, so
all see the same pixels. No bytes, however broken or hostile, raise anything but UnreadableImage, or warn.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from data_checks.perceptual_hash import perceptual_hash
from data_checks.reasons import UNREADABLE

#: Changes whenever `measure` or `decode` gives something else for the same bytes: it is part of the name of the facts, of every key of
#: the cache, and of the rule of splitting (the perceptual hash ties images together).
DECODER = "1"
#: The largest radiographs in use have about 20 million pixels; a file that claims more than this is not decoded.
MAX_PIXELS = 64_000_000

# Formats found in radiograph collections, told by their first bytes, never by the file's name. Each is opened by its own
# class: no other loader can run (EPS would start Ghostscript), and Image.open's size warning is not on the way. An MPO file
# (two views of one camera shot) begins as a JPEG and is read as that: its first picture is the shot.
_FORMATS: dict[str, tuple[re.Pattern[bytes], type[ImageFile.ImageFile]]] = {
    "PNG": (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    "JPEG": (re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    "GIF": (re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    "TIFF": (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    # Two letters alone would claim any text that begins with BM: the size of the next header must be a known one.
    "BMP": (
        re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
        BmpImagePlugin.BmpImageFile,
    ),
    "WEBP": (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    "JPEG2000": (
        re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
        Jpeg2KImagePlugin.Jpeg2KImageFile,
    ),
    "PPM": (re.compile(rb"P[1-6f]\s"), PpmImagePlugin.PpmImageFile),
}

# All that Pillow's readers let out, found by mutating valid files of every format. `Image.open` hides some of them, and
# ImageFile turns some others into SyntaxError; `load` does neither. All are caught around Pillow's calls only.
_PILLOW_ERRORS = (
    OSError,  # the usual one: truncated, broken data stream, decoder error -2, UnidentifiedImageError
    SyntaxError,  # broken header or PNG chunk
    ValueError,  # impossible sizes and offsets, UnicodeDecodeError, compressed text beyond the limit
    EOFError,  # a frame announced but missing
    ArithmeticError,  # OverflowError of sizes beyond a C integer, ZeroDivisionError of resolutions and sub-sampling
    LookupError,  # KeyError of unknown modes, IndexError at the end of the data
    TypeError,  # tags of an unexpected type in TIFF and EXIF
    AttributeError,  # tags of an unexpected type, again
    AssertionError,  # Pillow asserts on tiles and tags
    RuntimeError,  # NotImplementedError, and errors of the libraries below
    SystemError,  # tile extends outside image
    struct.error,
    zlib.error,
    Image.DecompressionBombError,  # Pillow's own limit, about 179 million pixels: above any real radiograph
)

# What those say where the data end too early, within the pixels and within the header.
_ENDS_EARLY = ("truncated", "end of file", "only got", "requires a buffer", "index out of range")

# EXIF orientation, and how to turn the stored pixels upright. 1 is upright; other values mean nothing.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: np.rot90,
}
_EXIF_KEYS = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
# More than 8 bits a pixel: mapped from the image's own darkest and brightest.
_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_PHOTOMETRIC_TAG = 262
_LEVELS = np.arange(256)
# An entry of warnings.filters: ignore every warning of every module of Pillow.
_PILLOW_MODULES = re.compile(r"PIL\.")
_PILLOW_FILTER = ("ignore", None, Warning, _PILLOW_MODULES, 0)


class UnreadableImage(Exception):
    """No gray pixels can be had from a file's bytes.

    Attributes:
        reason: A key of UNREADABLE.
        detail: What was found, for people.
        format, size, mode: What the header says, each None where it was not reached. size: (width, height) in px.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}. {UNREADABLE[reason]}")
        self.reason = reason
        self.detail = detail
        self.format: str | None = None
        self.size: tuple[int, int] | None = None
        self.mode: str | None = None


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of one file. Where it is unreadable, what its header tells, and None for the rest."""

    sha256: str  # hex digest of the file's bytes
    format: str | None  # by content: PNG, JPEG, GIF, TIFF, BMP, WEBP, JPEG2000, PPM; None if not an image
    width: int | None  # px, of the upright image
    height: int | None  # px, of the upright image
    mode: str | None  # Pillow's name of the mode as stored: L, RGB, RGBA, P, CMYK, I;16, LA, 1, F...
    mean: float | None  # of the gray pixels, 0-255
    contrast: float | None  # standard deviation of the gray pixels, 0-127.5
    clipped: float | None  # share of gray pixels at exactly 0 or 255, 0-1
    phash: bytes | None  # 32 bytes, see data_checks.perceptual_hash
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
        kind, mode, gray = _read(data, max_pixels=max_pixels)
    except UnreadableImage as error:
        width, height = error.size or (None, None)
        nothing = {"mean": None, "contrast": None, "clipped": None, "phash": None}
        facts = ImageFacts(
            digest, error.format, width, height, error.mode, **nothing, unreadable=error.reason
        )
        return facts, None
    # Pillow counts 8-bit levels about eight times as fast as np.bincount, which first widens them to 64 bits.
    shares = np.array(Image.fromarray(gray).histogram()) / gray.size
    mean = float(shares @ _LEVELS)
    facts = ImageFacts(
        sha256=digest,
        format=kind,
        width=gray.shape[1],
        height=gray.shape[0],
        mode=mode,
        mean=mean,
        contrast=float(np.sqrt(shares @ (_LEVELS - mean) ** 2)),
        clipped=float(shares[0] + shares[255]),
        phash=perceptual_hash(gray),
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
    16-bit colour keeps its high bytes.

    Args:
        data: All bytes of the file.
        max_pixels: Largest width times height that is decoded, at least 1.

    Returns:
        (height, width) uint8, 0-255, C-contiguous, possibly read-only.

    Raises:
        UnreadableImage: The bytes are no image that can be decoded in full; its `reason` is a key of UNREADABLE.
    """
    return _read(data, max_pixels=max_pixels)[2]


def _read(data: bytes, *, max_pixels: int) -> tuple[str, str, np.ndarray]:
    """Return the format, the mode as stored, and the gray pixels."""
    kind = _format_of(data)
    _silence_pillow()
    size, mode = None, None
    try:
        image = _FORMATS[kind][1](io.BytesIO(data), "")
        size, mode = image.size, image.mode
        if size[0] * size[1] > max_pixels:
            raise UnreadableImage(
                "too_large", f"{size[0]} x {size[1]} px, allowed are {max_pixels} px in all"
            )
        if getattr(image, "is_animated", False):
            raise UnreadableImage("several_frames", f"{kind} with more than one frame")
        if kind == "JPEG":
            # JPEG stores luma: taking it as it is saves the way to RGB and back (a third of the time). Not for CMYK.
            image.draft("L", None)
        image.load()
        gray = _gray(image)
    except UnreadableImage as error:
        error.format, error.size, error.mode = kind, size, mode
        raise
    except _PILLOW_ERRORS as error:
        raise _unreadable(error, kind, size, mode) from error
    except MemoryError as error:
        raise _unreadable(Image.DecompressionBombError("not enough memory"), kind, size, mode) from error
    return kind, mode, np.ascontiguousarray(_turn_upright(image, kind, gray))


def _format_of(data: bytes) -> str:
    """Return the key of _FORMATS that the first bytes show."""
    for kind, (signature, _) in _FORMATS.items():
        if signature.match(data):
            return kind
    if not data:
        raise UnreadableImage("empty_file", "0 bytes")
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        raise UnreadableImage("git_lfs_pointer", f"a text of {len(data)} bytes")
    if data[128:132] == b"DICM":
        raise UnreadableImage("dicom", "DICM at byte 128")
    raise UnreadableImage("not_an_image", f"begins with {data[:8]!r}")


def _unreadable(
    error: Exception, kind: str, size: tuple[int, int] | None, mode: str | None
) -> UnreadableImage:
    """Translate what Pillow raised. Its messages are the only place that tells a truncated file from a broken one."""
    text = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        reason = "too_large"
    elif isinstance(error, EOFError) or any(hint in text for hint in _ENDS_EARLY):
        reason = "truncated"
    else:
        reason = "corrupt"
    result = UnreadableImage(reason, f"{kind}, {type(error).__name__}: {error}")
    result.format, result.size, result.mode = kind, size, mode
    return result


def _silence_pillow() -> None:
    """Keep Pillow's warnings about a file's content away: the facts say what is wrong with it.

    One filter for the whole process, put back in front where others came before it. warnings.catch_warnings would be
    tidier, but it swaps the global filters and is not safe with threads before Python 3.14.
    """
    if not warnings.filters or warnings.filters[0] != _PILLOW_FILTER:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES.pattern)


def _gray(image: ImageFile.ImageFile) -> np.ndarray:
    """Return a loaded image's pixels as stored, in gray: (height, width) uint8."""
    if image.mode == "L":
        return np.asarray(image)
    if image.mode in _WIDE_MODES:
        gray = _stretch(np.asarray(image))
        # TIFF: 0 is white. Pillow inverts such images of 8 bits, not those of more.
        tags = getattr(image, "tag_v2", {})
        return 255 - gray if tags.get(_PHOTOMETRIC_TAG) == 0 else gray
    if image.mode == "LAB":
        return np.asarray(image.getchannel(0))
    # Transparency beside a palette would make the conversion warn, and it is dropped anyway.
    image.info.pop("transparency", None)
    try:
        return np.asarray(image.convert("L"))
    except ValueError as error:
        raise UnreadableImage("unsupported_mode", f"mode {image.mode}") from error


def _stretch(values: np.ndarray) -> np.ndarray:
    """Map values of more than 8 bits linearly from their own minimum and maximum to 0 and 255."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    result = np.zeros(values.shape, dtype=np.uint8)
    if high == low:
        return result
    # By blocks of rows: a hundred million pixels in float64 would be 800 MB.
    rows = max(1, (1 << 20) // values.shape[1])
    for start in range(0, len(values), rows):
        part = values[start : start + rows]
        if part.dtype.kind == "f":  # before widening: a signalling NaN would warn there
            part = np.nan_to_num(part, nan=low, posinf=high, neginf=low)
        part = part.astype(np.float64)
        result[start : start + rows] = np.rint((part - low) * (255 / (high - low)))
    return result


def _turn_upright(image: ImageFile.ImageFile, kind: str, gray: np.ndarray) -> np.ndarray:
    """Apply EXIF orientation. Broken EXIF beside sound pixels is ignored, as every viewer does."""
    # Pillow turns TIFF itself while loading.
    if kind == "TIFF" or not any(key in image.info for key in _EXIF_KEYS):
        return gray
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except _PILLOW_ERRORS:
        return gray
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return turn(gray) if turn else gray
