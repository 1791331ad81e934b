"""What all decoders share: why a file gives no pixels, what its header tells, and the silence of the libraries.

Stands below raster and dicom, which raise `UnreadableImage`, and image_facts, which turns it into facts.
"""

from __future__ import annotations

import logging
import re
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import Image

from data_checks.reasons import UNREADABLE

#: All that Pillow and pydicom let out, found by mutating valid files of every format. All are caught around the calls
#: of those libraries only. `Image.open` hides some of Pillow's, ImageFile turns others into SyntaxError; `load` does neither.
DECODER_ERRORS = (
    OSError,  # the usual one: truncated, broken data stream, decoder error -2, UnidentifiedImageError
    SyntaxError,  # broken header or PNG chunk
    ValueError,  # impossible sizes and offsets, UnicodeDecodeError, numbers that are none
    EOFError,  # a frame announced but missing
    ArithmeticError,  # OverflowError of sizes beyond a C integer, ZeroDivisionError of resolutions and sub-sampling
    LookupError,  # KeyError of unknown modes, IndexError at the end of the data
    TypeError,  # tags of an unexpected type in TIFF, EXIF and DICOM
    AttributeError,  # tags of an unexpected type or missing
    AssertionError,  # Pillow asserts on tiles and tags
    RuntimeError,  # NotImplementedError, RecursionError of nested sequences, and errors of the libraries below
    SystemError,  # tile extends outside image
    struct.error,
    zlib.error,
    Image.DecompressionBombError,  # Pillow's own limit, about 179 million pixels: above any real radiograph
)

# What those say where the data end too early, within the pixels and within the header.
_ENDS_EARLY = ("truncated", "end of file", "only got", "requires a buffer", "index out of range")
# An entry of warnings.filters: ignore every warning of every module of Pillow and pydicom.
_LIBRARIES = re.compile(r"(PIL|pydicom)\.")
_FILTER = ("ignore", None, Warning, _LIBRARIES, 0)
_PYDICOM_LOG = "pydicom"
_NEVER = logging.CRITICAL + 1


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the pixels; each None where it was not reached or is not known."""

    format: str | None = None  # a value of data_checks.contract.FORMATS
    size: tuple[int, int] | None = None  # width and height in px
    mode: str | None = None  # Pillow's name of the mode as stored, or DICOM's photometric interpretation
    bits: int | None = None  # of a sample as stored
    patient: str | None = None  # 16 hexadecimal digits


class UnreadableImage(Exception):
    """No gray pixels can be had from a file's bytes.

    Attributes:
        reason: A key of UNREADABLE.
        detail: What was found, for people.
        header: What was known when the reading ended.
    """

    def __init__(self, reason: str, detail: str, *, header: Header | None = None) -> None:
        super().__init__(f"{reason}: {detail}. {UNREADABLE[reason]}")
        self.reason = reason
        self.detail = detail
        self.header = header or Header()


def reason_of(error: Exception) -> str:
    """Translate what a library raised. Its messages are the only place that tells a truncated file from a broken one."""
    text = str(error).lower()
    if isinstance(error, Image.DecompressionBombError | MemoryError):
        return "too_large"
    if isinstance(error, EOFError) or any(hint in text for hint in _ENDS_EARLY):
        return "truncated"
    return "corrupt"


def silence_libraries() -> None:
    """Keep the libraries' warnings about a file's content away: the facts say what is wrong with it.

    One filter for the whole process, put back in front where others came before it. warnings.catch_warnings would be
    tidier, but it swaps the global filters and is not safe with threads before Python 3.14.
    """
    if not warnings.filters or warnings.filters[0] != _FILTER:
        warnings.filterwarnings("ignore", module=_LIBRARIES.pattern)
    log = logging.getLogger(_PYDICOM_LOG)
    if log.level != _NEVER:
        log.setLevel(_NEVER)
