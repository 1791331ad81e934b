"""Every format that Pillow reads: bytes in, header and gray pixels out. Stands below image_facts, beside dicom.

Each format is opened by its own class: no other loader can run (EPS would start Ghostscript), and Image.open's size
warning is not on the way.
"""

from __future__ import annotations

import io
import re

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

from data_checks.images.jpeg_scans import refuse_endless
from data_checks.images.unreadable import DECODER_ERRORS, Header, UnreadableImage, reason_of

# Formats found in radiograph collections, told by their first bytes, never by the file's name. An MPO file (two views of
# one camera shot) begins as a JPEG and is read as that: its first picture is the shot.
FORMATS: dict[str, tuple[re.Pattern[bytes], type[ImageFile.ImageFile]]] = {
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
_BITS_TAG, _PHOTOMETRIC_TAG = 258, 262
# Bits of a sample where the header does not say more than Pillow's mode does; all other modes have 8.
_MODE_BITS = {"1": 1, "I;16": 16, "I;16L": 16, "I;16B": 16, "I;16N": 16, "I": 32, "F": 32}
# Where the header says it: the depth byte of PNG's first chunk, the bits a pixel of BMP, and in the size marker of a
# JPEG 2000 stream the byte after image and tile sizes (ISO/IEC 15444-1, A.5.1: Ssiz).
_PNG_DEPTH, _BMP_DEPTH, _J2K_START, _J2K_DEPTH = 24, 28, b"\xff\x4f\xff\x51", 42


def read_raster(kind: str, data: bytes, *, max_pixels: int) -> tuple[Header, np.ndarray]:
    """Read one file that begins as a format of FORMATS.

    Args:
        kind: Key of FORMATS.
        data: All bytes of the file.
        max_pixels: Largest width times height that is decoded, at least 1.

    Returns:
        What its header says, and its gray pixels, upright: (height, width) uint8.

    Raises:
        UnreadableImage: It cannot be decoded in full.
    """
    header = Header(kind)
    try:
        image = FORMATS[kind][1](io.BytesIO(data), "")
        header = Header(kind, image.size, image.mode, _bits(kind, image, data))
        width, height = image.size
        if width * height > max_pixels:
            raise UnreadableImage(
                "too_large", f"{width} x {height} px, allowed are {max_pixels} px in all", header=header
            )
        if getattr(image, "is_animated", False):
            raise UnreadableImage("several_frames", f"{kind} with more than one frame", header=header)
        if kind == "JPEG":
            refuse_endless(data, width * height, header=header)
            # JPEG stores luma: taking it as it is saves the way to RGB and back (a third of the time). Not for CMYK.
            image.draft("L", None)
        image.load()
        gray = _gray(image, header)
    except (*DECODER_ERRORS, MemoryError) as error:
        said = f"{kind}, {type(error).__name__}: {error}"
        raise UnreadableImage(reason_of(error), said, header=header) from error
    return header, np.ascontiguousarray(_turn_upright(image, kind, gray))


def stretch(values: np.ndarray) -> np.ndarray:
    """Map values of more than 8 bits linearly from their own minimum and maximum to 0 and 255.

    Args:
        values: (height, width), any integers or floats; NaN counts as the minimum.

    Returns:
        (height, width) uint8; all 0 where every value is the same.
    """
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


def _bits(kind: str, image: ImageFile.ImageFile, data: bytes) -> int:
    """Return the bits of a sample as stored."""
    said = None
    if kind == "PNG":
        said = data[_PNG_DEPTH]
    elif kind == "BMP":
        said = min(data[_BMP_DEPTH], 8)  # 24 and 32 bits are three and four samples
    elif kind == "TIFF":
        said = getattr(image, "tag_v2", {}).get(_BITS_TAG, (1,))[0]
    elif kind == "JPEG2000" and (start := data.find(_J2K_START)) >= 0:
        said = (data[start + _J2K_DEPTH] & 0x7F) + 1
    elif kind == "PPM" and image.mode == "I":
        said = 16
    return said if isinstance(said, int) and 1 <= said <= 64 else _MODE_BITS.get(image.mode, 8)


def _gray(image: ImageFile.ImageFile, header: Header) -> np.ndarray:
    """Return a loaded image's pixels as stored, in gray: (height, width) uint8."""
    if image.mode == "L":
        return np.asarray(image)
    if image.mode in _WIDE_MODES:
        gray = stretch(np.asarray(image))
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
        raise UnreadableImage("unsupported_mode", f"mode {image.mode}", header=header) from error


def _turn_upright(image: Image.Image, kind: str, gray: np.ndarray) -> np.ndarray:
    """Apply EXIF orientation. Broken EXIF beside sound pixels is ignored, as every viewer does."""
    # Pillow turns TIFF itself while loading.
    if kind == "TIFF" or not any(key in image.info for key in _EXIF_KEYS):
        return gray
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except DECODER_ERRORS:
        return gray
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return turn(gray) if turn else gray
