"""The elements of a DICOM file: bytes in, the wanted elements and the header out. Stands below dicom.

pydicom reads them; here stands what keeps hostile ones from taking its time and memory.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import zlib
from typing import TYPE_CHECKING, Any

from data_checks.images.unreadable import Header, UnreadableImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Transfer syntaxes (DICOM PS3.6, table A-1) that say how the elements are written, not only their pixels.
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
# The elements that are read; all others are passed over.
_WANTED = (
    "PatientID",
    "IssuerOfPatientID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "WindowCenter",
    "WindowWidth",
    "RescaleIntercept",
    "RescaleSlope",
    "VOILUTFunction",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "PresentationLUTShape",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "PixelData",
)
PIXEL_DATA = 0x7FE00010
_PREAMBLE = 132
# Radiographs have hundreds of elements, the largest reports some ten thousand; each takes two or three reads.
_MOST_READS = 1_000_000
_MODE = re.compile(r"[A-Z0-9_ ]{1,16}")


def data_set(data: bytes, *, max_pixels: int) -> tuple[Dataset, str | None]:
    """Return the wanted elements, and the transfer syntax as far as the file names it."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset

    source = _Source(data)
    source.seek(_PREAMBLE if data.startswith(b"DICM", _PREAMBLE - 4) else 0)
    meta = read_dataset(source, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    syntax = meta.get("TransferSyntaxUID")
    syntax = None if syntax is None else str(syntax)
    if syntax == DEFLATED:
        source = _Source(_inflated(data[source.tell() :], max_pixels=max_pixels))
    if syntax is None:
        place = source.tell()
        implicit = re.fullmatch(rb".{4}[A-Z]{2}", source.read(6), re.DOTALL) is None
        source.seek(place)
    else:
        implicit = syntax == IMPLICIT
    wanted = [tag for tag in map(tag_for_keyword, _WANTED) if tag is not None]
    try:
        dataset = read_dataset(
            source,
            implicit,
            syntax != BIG_ENDIAN,
            stop_when=lambda tag, _vr, _length: tag > PIXEL_DATA,
            specific_tags=wanted,
        )
    except OSError as error:  # a sequence that ends early
        raise UnreadableImage("truncated" if source.ends_early() else "corrupt", str(error)) from error
    if "PixelData" not in dataset or not dataset.get_item(PIXEL_DATA).value:
        if source.ends_early():
            raise UnreadableImage("truncated", "the file ends before its pixels", header=header_of(dataset))
        raise UnreadableImage("no_pixels", "no element (7FE0,0010)", header=header_of(dataset))
    return dataset, syntax


def _inflated(data: bytes, *, max_pixels: int) -> bytes:
    """Inflate a deflated data set, which is no larger than four bytes a pixel and 16 MiB of other elements."""
    most = 4 * max_pixels + (16 << 20)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    result = inflater.decompress(data, most)
    if inflater.unconsumed_tail:
        raise UnreadableImage("too_large", f"inflates to more than {most} bytes")
    if not inflater.eof:
        raise UnreadableImage("truncated", "the deflated elements end early")
    return result


def header_of(dataset: Dataset) -> Header:
    """Return what the elements say of the picture and its patient."""
    columns, rows = whole(dataset, "Columns"), whole(dataset, "Rows")
    mode, bits = first(dataset, "PhotometricInterpretation"), whole(dataset, "BitsStored")
    return Header(
        format="DICOM",
        size=None if columns is None or rows is None else (columns, rows),
        mode=mode if isinstance(mode, str) and _MODE.fullmatch(mode) else None,
        bits=bits if bits is not None and 1 <= bits <= 64 else None,
        patient=_patient(dataset),
    )


def _patient(dataset: Dataset) -> str | None:
    """Return 16 digits that stand for the patient: sha256 of `issuer|id`, of the bytes as stored without their padding."""
    issuer, patient = (
        (dataset.get_item(tag).value or b"") if tag in dataset else b"" for tag in (0x00100021, 0x00100020)
    )
    issuer, patient = (
        (part if isinstance(part, bytes) else str(part).encode("utf-8", "replace")).strip(b" \0")
        for part in (issuer, patient)
    )
    return hashlib.sha256(issuer + b"|" + patient).hexdigest()[:16] if patient else None


def first(dataset: Dataset, keyword: str) -> Any:
    """Return the value of an element, the first of several, None where there is none."""
    from pydicom.multival import MultiValue

    value = dataset.get(keyword)
    if isinstance(value, MultiValue | list | tuple):
        return value[0] if value else None
    return None if value == "" else value


def whole(dataset: Dataset, keyword: str) -> int | None:
    """Return an element as a whole number, the first of several, None where there is none."""
    value = first(dataset, keyword)
    return None if value is None else int(value)


def number(dataset: Dataset, keyword: str, otherwise: float) -> float:
    """Return an element as a number, the first of several; what is no finite number counts as absent."""
    value = first(dataset, keyword)
    found = math.nan if value is None else float(value)
    return found if math.isfinite(found) else otherwise


class _Source(io.BytesIO):
    """The bytes of a data set; knows whether they ended early, and lets nobody read in circles.

    pydicom starts again behind an element without an end, so nested ones take quadratic time: each byte may be read
    four times (in practice twice).
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.size = len(data)
        self.short = False
        self._left = 4 * len(data) + (1 << 20)
        self._reads = _MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.short |= size is not None and 0 < len(found) < size
        self._left -= len(found)
        self._reads -= 1
        if self._left < 0 or self._reads < 0:
            raise ValueError("elements without end, or more than a million of them")
        return found

    def ends_early(self) -> bool:
        return self.short or self.tell() > self.size
