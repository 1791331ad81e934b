"""The pixels of a DICOM file: compressed or not, bytes in, stored values out. Stands below dicom.

pydicom unpacks the uncompressed, Pillow decodes JPEG, JPEG 2000 and run lengths, GDCM in another process JPEG Lossless
and JPEG-LS. Nothing is decoded that is not of the size which the file says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from data_checks.images.codestream import Stream, decode_in_child, stream_header
from data_checks.images.dicom_elements import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT
from data_checks.images.jpeg_scans import refuse_endless
from data_checks.images.unreadable import UnreadableImage

#: Transfer syntaxes whose pixels are not compressed.
NATIVE = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})
# The compressed ones by who decodes them; all others are refused.
_RUN_LENGTHS = "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4"
_BY_PILLOW = {f"{_JPEG}.50", f"{_JPEG}.51", f"{_JPEG}.90", f"{_JPEG}.91"}
_BY_GDCM = {f"{_JPEG}.57", f"{_JPEG}.70", f"{_JPEG}.80", f"{_JPEG}.81"}
# JPEG Extended: with 8 bits Pillow decodes it, with 12 GDCM.
_EXTENDED = f"{_JPEG}.51"

#: Every transfer syntax whose pixels are compressed, and that can be decoded here.
COMPRESSED = frozenset({_RUN_LENGTHS, *_BY_PILLOW, *_BY_GDCM})


@dataclass(frozen=True, slots=True)
class Layout:
    """How the pixels are stored."""

    rows: int
    columns: int
    samples: int  # 1 or 3 a pixel
    allocated: int  # bits that a sample takes
    stored: int  # bits of them that say something
    high: int  # number of the highest of these
    signed: bool
    planar: int  # 1: all red, then all green, then all blue; 0: pixel by pixel
    photometric: str  # MONOCHROME1, MONOCHROME2, RGB...
    little: bool  # byte order
    vr: str  # type of the pixel element: of OW, big-endian bytes stand swapped


def stored_pixels(value: bytes, layout: Layout, syntax: str | None) -> tuple[np.ndarray, str]:
    """Return the stored values and the photometric interpretation that they have now.

    Returns:
        (rows, columns) or (rows, columns, 3), integers; sign extended, no bits beside those stored.
    """
    if syntax is None or syntax in NATIVE:
        return _native(value, layout, syntax or EXPLICIT)
    from pydicom.encaps import get_frame

    stream = get_frame(value, 0, number_of_frames=1)
    if syntax == _RUN_LENGTHS:
        return _placed(_run_lengths(stream, layout), layout), layout.photometric
    said = stream_header(stream)
    if (said.rows, said.columns, said.samples) != (layout.rows, layout.columns, layout.samples):
        raise UnreadableImage("corrupt", f"the compressed pixels are {said}, the file says otherwise")
    if said.bits > layout.allocated or layout.allocated > 16:
        raise UnreadableImage("corrupt", f"{said.bits} bits in {layout.allocated}")
    if syntax in _BY_GDCM or (syntax == _EXTENDED and said.bits > 8):
        pixels = decode_in_child(stream, syntax, header=said, photometric=layout.photometric)
        return _signed(pixels, layout, said), layout.photometric
    if layout.samples > 1 and said.bits > 8:
        raise UnreadableImage("unsupported_compression", f"{said.bits} bits a colour")
    refuse_endless(stream, layout.rows * layout.columns)
    return _by_pydicom(value, layout, syntax, decoding_plugin="pillow")


def _native(value: bytes, layout: Layout, syntax: str) -> tuple[np.ndarray, str]:
    bits = layout.rows * layout.columns * layout.samples * layout.allocated
    expected = (bits * 2 // 3 if layout.photometric == "YBR_FULL_422" else bits) + 7 >> 3
    if len(value) < expected:
        raise UnreadableImage("truncated", f"{len(value)} bytes of pixels, expected {expected}")
    # No more than one picture: pydicom would take what follows for further frames.
    pixels, photometric = _by_pydicom(
        value[: expected + expected % 2], layout, syntax, correct_unused_bits=False
    )
    return _placed(pixels, layout), photometric


def _by_pydicom(value: bytes, layout: Layout, syntax: str, **options: Any) -> tuple[np.ndarray, str]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    described: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric,
        "planar_configuration": layout.planar,
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
        "pixel_keyword": "PixelData",
        "pixel_vr": layout.vr,
    }
    pixels, said = get_decoder(UID(syntax)).as_array(value, raw=True, **described, **options)
    return pixels, str(said["photometric_interpretation"])


def _run_lengths(stream: bytes, layout: Layout) -> np.ndarray:
    """Decode run lengths with Pillow's decoder of the same scheme: a hundredth of pydicom's time, and no larger than it should be.

    Source: DICOM PS3.5, annex G: up to 15 segments, one for each byte of a sample, the most significant first.
    """
    width, pixels = layout.allocated // 8, layout.rows * layout.columns
    numbers = np.frombuffer(stream, "<u4", count=16)
    count = width * layout.samples
    if width < 1 or numbers[0] != count:
        raise UnreadableImage("corrupt", f"{numbers[0]} segments of run lengths, expected {count}")
    ends = [*map(int, numbers[2 : 1 + count]), len(stream)]
    planes = np.empty((layout.samples, pixels, width), np.uint8)
    for number, (start, end) in enumerate(zip(map(int, numbers[1 : 1 + count]), ends, strict=True)):
        # As one line, since some writers let runs cross the rows.
        line = Image.frombytes("L", (pixels, 1), stream[start:end], "packbits", "L")
        planes[number // width, :, width - 1 - number % width] = np.asarray(line)[0]
    values = planes.view(f"<{'i' if layout.signed else 'u'}{width}")[:, :, 0]
    shape = (layout.rows, layout.columns, layout.samples)
    return np.ascontiguousarray(values.T).reshape(shape[: 2 if layout.samples == 1 else 3])


def _placed(pixels: np.ndarray, layout: Layout) -> np.ndarray:
    """Take the stored bits out of those allocated, with their sign: what stands beside them may be anything."""
    if layout.stored == layout.allocated or layout.allocated == 1:
        return pixels
    pixels = np.left_shift(pixels, layout.allocated - 1 - layout.high)
    return np.right_shift(pixels, layout.allocated - layout.stored, out=pixels)


def _signed(pixels: np.ndarray, layout: Layout, said: Stream) -> np.ndarray:
    """Give decoded pixels their sign: compressed streams keep none."""
    if not layout.signed:
        return pixels
    spare = 8 * pixels.itemsize - min(layout.stored, said.bits)
    pixels = np.left_shift(pixels, spare).view(f"<i{pixels.itemsize}")
    return np.right_shift(pixels, spare, out=pixels)
