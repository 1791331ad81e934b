"""DICOM files: bytes in, header and gray pixels out. Stands below image_facts, beside raster.

`dicom_elements` reads what the file says, here is judged whether that is one picture, `dicom_pixels` decodes it, and
`dicom_gray` draws it. All that can be refused is refused before a pixel is decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from data_checks.images.dicom_elements import BIG_ENDIAN, PIXEL_DATA, data_set, first, header_of, whole
from data_checks.images.dicom_gray import draw, luma
from data_checks.images.dicom_pixels import COMPRESSED, NATIVE, Layout, stored_pixels
from data_checks.images.unreadable import DECODER_ERRORS, Header, UnreadableImage, reason_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_UNDEFINED = 0xFFFFFFFF
_GRAY = {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"}
_LUMA_FIRST = {"YBR_FULL", "YBR_FULL_422"}
_RGB = {"RGB", "YBR_ICT", "YBR_RCT"}


def read_dicom(data: bytes, *, max_pixels: int) -> tuple[Header, np.ndarray]:
    """Read one DICOM file.

    Args:
        data: All bytes of the file.
        max_pixels: Largest width times height that is decoded, at least 1.

    Returns:
        What its header says, and its gray pixels: (rows, columns) uint8, C-contiguous.

    Raises:
        UnreadableImage: It holds no picture, several, or one that cannot be decoded in full.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    # These two are derived from Exception itself.
    errors = (*DECODER_ERRORS, MemoryError, BytesLengthException, InvalidDicomError)
    header = Header("DICOM")
    try:
        dataset, syntax = data_set(data, max_pixels=max_pixels)
        header = header_of(dataset)
        layout = _layout(dataset, syntax, max_pixels=max_pixels)
        pixels, photometric = stored_pixels(dataset.get_item(PIXEL_DATA).value, layout, syntax)
        if photometric in _GRAY:
            gray = draw(pixels, dataset, layout)
        elif photometric in _LUMA_FIRST:
            gray = luma(pixels[..., :1], layout.stored)
        else:
            gray = luma(pixels, layout.stored)
    except UnreadableImage as error:
        known = error.header if error.header.format else header
        raise UnreadableImage(error.reason, error.detail, header=known) from error
    except errors as error:
        said = f"DICOM, {type(error).__name__}: {error}"
        raise UnreadableImage(reason_of(error), said, header=header) from error
    return header, gray


def _layout(dataset: Dataset, syntax: str | None, *, max_pixels: int) -> Layout:
    """Return how the pixels are stored; raise where they are not to be decoded."""
    frames = whole(dataset, "NumberOfFrames") or 1
    if frames > 1:
        raise UnreadableImage("several_frames", f"DICOM with {frames} frames")
    rows, columns = whole(dataset, "Rows") or 0, whole(dataset, "Columns") or 0
    if rows < 1 or columns < 1:
        raise UnreadableImage("corrupt", f"{columns} x {rows} px")
    if rows * columns > max_pixels:
        raise UnreadableImage("too_large", f"{columns} x {rows} px, allowed are {max_pixels} px in all")
    allocated, samples = whole(dataset, "BitsAllocated") or 0, whole(dataset, "SamplesPerPixel") or 1
    stored = whole(dataset, "BitsStored") or allocated
    high = whole(dataset, "HighBit")
    photometric = str(first(dataset, "PhotometricInterpretation"))
    layout = Layout(
        rows=rows,
        columns=columns,
        samples=samples,
        allocated=allocated,
        stored=stored,
        high=stored - 1 if high is None else high,
        signed=whole(dataset, "PixelRepresentation") == 1,
        planar=whole(dataset, "PlanarConfiguration") or 0,
        photometric=photometric,
        little=syntax != BIG_ENDIAN,
        vr=str(dataset.get_item(PIXEL_DATA).VR or "OW"),
    )
    known = {1: _GRAY, 3: _LUMA_FIRST | _RGB}.get(samples, set())
    if (
        photometric not in known
        or allocated not in (1, 8, 16, 32)
        or (samples == 3 and allocated not in (8, 16))
    ):
        raise UnreadableImage("unsupported_mode", f"{photometric}, {samples} samples of {allocated} bits")
    if not 1 <= stored <= layout.high + 1 <= allocated:
        raise UnreadableImage("corrupt", f"{stored} bits up to bit {layout.high} in {allocated} bits")
    encapsulated = getattr(dataset.get_item(PIXEL_DATA), "length", None) == _UNDEFINED
    if syntax is None and encapsulated:
        raise UnreadableImage("unsupported_compression", "compressed, and no transfer syntax says how")
    if not (syntax is None or syntax in NATIVE | COMPRESSED):
        raise UnreadableImage("unsupported_compression", f"transfer syntax {syntax[:64]}")
    if encapsulated != (syntax is not None and syntax not in NATIVE):
        raise UnreadableImage("corrupt", f"pixels do not stand as transfer syntax {syntax} has them")
    return layout
