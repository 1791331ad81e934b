"""How stored DICOM values become gray levels: modality, window, palette, polarity. Stands below dicom.

Values in, values out: every distinct value is drawn once, as a table of gray levels, and the table is looked up. Sources:
DICOM PS3.3, C.11.1 (modality), C.11.2 (window), C.7.6.3.1.2 (polarity), C.7.5.1.1.2 (padding), C.11.6 (shape).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from data_checks.images.dicom_elements import number
from data_checks.images.unreadable import UnreadableImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from data_checks.images.dicom_pixels import Layout

# Looked up by blocks of so many pixels: numpy widens the indices to 64 bits on the way.
_BLOCK = 1 << 20


def draw(stored: np.ndarray, dataset: Dataset, layout: Layout) -> np.ndarray:
    """Draw a picture of one sample a pixel.

    With a window or a VOI table, its range becomes 0-255, and what lies outside is clipped. Without, up to 8 bits are
    kept as stored (fewer than 8 stretched from all that they can hold), as in every other format; more than 8 bits
    run from the picture's own minimum to its maximum, where padding does not count and is drawn black. MONOCHROME1
    and a presentation that asks for it are inverted, once.

    Args:
        stored: (rows, columns) integers as stored.
        dataset: The elements of the file.
        layout: How they are stored.

    Returns:
        (rows, columns) uint8.
    """
    levels, places = _distinct(stored)
    if layout.photometric == "PALETTE COLOR":
        return _looked_up(_palette(dataset, levels, layout), places)
    # Overflow and NaN come from absurd windows; both are clipped into the range below.
    with np.errstate(all="ignore"):
        values, direction = _modality(dataset, levels, layout)
        shades = _window(dataset, values, layout)
        padding = None
        if shades is None:
            padding = _padding(dataset, levels, layout)
            if direction and layout.stored <= 8:
                ends = np.array(_range(layout)) * direction
            else:
                seen = _seen(places, len(levels))
                ends = values[seen if padding is None else seen & ~padding]
            low, high = (ends.min(), ends.max()) if ends.size else (0, 0)
            shades = (values - low) * (255 / (high - low)) if high > low else np.zeros(len(values))
        table = np.clip(np.rint(np.nan_to_num(shades, nan=0, posinf=255, neginf=0)), 0, 255).astype(np.uint8)
    if layout.photometric == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        table = 255 - table
    if padding is not None:
        table[padding] = 0
    return _looked_up(table, places)


def luma(colours: np.ndarray, stored: int) -> np.ndarray:
    """Return the luma of a picture of three samples a pixel, or of its luma alone.

    Args:
        colours: (rows, columns, 3) red, green, blue, or (rows, columns, 1) luma.
        stored: bits of a sample; of more than 8 the high ones are kept.

    Returns:
        (rows, columns) uint8.
    """
    if stored > 8:
        colours = colours >> (stored - 8)
    colours = np.ascontiguousarray(colours.astype(np.uint8, copy=False))
    if colours.shape[2] == 1:
        return colours[:, :, 0]
    return np.asarray(Image.fromarray(colours).convert("L"))


def _distinct(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every value that may occur, (n,) int64, and for each pixel the number of its value."""
    if stored.itemsize <= 2:
        unsigned = f"u{stored.itemsize}"
        everything = np.arange(1 << 8 * stored.itemsize).astype(unsigned)
        kind = stored.dtype.newbyteorder("=")
        stored = np.ascontiguousarray(stored, kind)
        return everything.view(kind).astype(np.int64), stored.view(unsigned)
    levels, places = np.unique(stored, return_inverse=True)
    return levels.astype(np.int64), places.reshape(stored.shape)


def _modality(dataset: Dataset, levels: np.ndarray, layout: Layout) -> tuple[np.ndarray, int]:
    """Return the values after the modality table or rescaling, and its direction: 1 or -1, 0 for a table.

    A straight line without a window after it does not change the picture but by its direction, and is left out then: so
    the file and an export of its stored values agree to the last level.
    """
    table = _item(dataset, "ModalityLUTSequence")
    if table is not None:
        return _table_values(table, levels, layout)[0].astype(np.float64), 0
    slope, intercept = number(dataset, "RescaleSlope", 1), number(dataset, "RescaleIntercept", 0)
    direction = -1 if slope < 0 else 1
    if not _has_window(dataset):
        return levels * float(direction), direction
    return levels * (slope or 1.0) + intercept, direction


def _has_window(dataset: Dataset) -> bool:
    return _item(dataset, "VOILUTSequence") is not None or _window_of(dataset) is not None


def _window_of(dataset: Dataset) -> tuple[str, float, float] | None:
    """Return function, center and width of the first window, None where there is none that means something."""
    center, width = (number(dataset, keyword, math.nan) for keyword in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if math.isnan(center) or not (width >= 1 if function == "LINEAR" else width > 0):
        return None
    return function, center, width


def _window(dataset: Dataset, values: np.ndarray, layout: Layout) -> np.ndarray | None:
    """Return the gray levels, 0-255, not rounded, that the first VOI table or window gives; None where there is none."""
    table = _item(dataset, "VOILUTSequence")
    if table is not None:
        shades, bits = _table_values(table, np.rint(values), layout)
        return shades * (255 / ((1 << bits) - 1))
    window = _window_of(dataset)
    if window is None:
        return None
    function, center, width = window
    if function == "SIGMOID":  # 1 / (1 + exp(-4 x)), in a form that does not overflow
        return 127.5 * (1 + np.tanh(2 * (values - center) / width))
    if function == "LINEAR_EXACT":
        return ((values - center) / width + 0.5) * 255
    if width == 1:
        return np.where(values > center - 0.5, 255.0, 0.0)
    return ((values - (center - 0.5)) / (width - 1) + 0.5) * 255


def _table_values(item: Dataset, values: np.ndarray, layout: Layout) -> tuple[np.ndarray, int]:
    """Look values up in a table of the file: (n,) whole numbers -> (n,) int64, and the bits that its entries have."""
    return _entries(item.get("LUTDescriptor"), item.get("LUTData"), values, layout)


def _entries(descriptor: Any, data: Any, values: np.ndarray, layout: Layout) -> tuple[np.ndarray, int]:
    """Look up by descriptor (number of entries, 0 for 65,536; first value; bits) and entries."""
    count, first, bits = (int(part) for part in descriptor)
    count = count & 0xFFFF or 1 << 16
    if layout.signed and first > 0x7FFF:
        first -= 1 << 16
    if isinstance(data, bytes):
        wide = len(data) >= 2 * count
        kind = np.dtype("u1" if not wide else "<u2" if layout.little else ">u2")
        entries = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)
    else:
        entries = np.atleast_1d(np.asarray(data)) & 0xFFFF
    entries = entries[:count].astype(np.int64)
    if entries.size == 0:
        raise UnreadableImage("corrupt", "a table of gray levels without entries")
    if not (1 <= bits <= 16 and entries.max() < 1 << bits):  # some writers count the bits of something else
        bits = max(1, int(entries.max()).bit_length())
    places = np.clip(np.nan_to_num(values) - first, 0, entries.size - 1).astype(np.int64)
    return entries[places], bits


def _palette(dataset: Dataset, levels: np.ndarray, layout: Layout) -> np.ndarray:
    """Return the luma of every value by the file's palette: (n,) uint8."""
    colours = []
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        descriptor, data = dataset.get(f"{name}Descriptor"), dataset.get(f"{name}Data")
        if descriptor is None or data is None:
            raise UnreadableImage("unsupported_mode", "PALETTE COLOR without a plain palette")
        entries, bits = _entries(descriptor, data, levels, layout)
        colours.append(entries >> max(0, bits - 8))
    return luma(np.stack(colours, axis=1)[None].astype(np.uint8), 8)[0]


def _padding(dataset: Dataset, levels: np.ndarray, layout: Layout) -> np.ndarray | None:
    """Tell which values are padding, (n,) bool; None where the file names none."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted(_as_stored(int(end), layout) for end in (value, value if limit is None else limit))
    return (levels >= ends[0]) & (levels <= ends[1])


def _as_stored(value: int, layout: Layout) -> int:
    """Return a value with the sign that the pixels have: files name it in the other sign, too."""
    low, high = _range(layout)
    return value if low <= value <= high else (value - low) % (high - low + 1) + low


def _range(layout: Layout) -> tuple[int, int]:
    """Return the least and the greatest value that can be stored."""
    low = -(1 << layout.stored - 1) if layout.signed else 0
    return low, low + (1 << layout.stored) - 1


def _seen(places: np.ndarray, count: int) -> np.ndarray:
    """Tell which values occur: (count,) bool."""
    seen = np.zeros(count, bool)
    flat = places.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        seen[flat[start : start + _BLOCK]] = True
    return seen


def _looked_up(table: np.ndarray, places: np.ndarray) -> np.ndarray:
    result = np.empty(places.shape, np.uint8)
    source, target = places.reshape(-1), result.reshape(-1)
    for start in range(0, source.size, _BLOCK):
        target[start : start + _BLOCK] = table[source[start : start + _BLOCK]]
    return result


def _item(dataset: Dataset, keyword: str) -> Dataset | None:
    """Return the first item of a sequence that holds a table."""
    items = dataset.get(keyword)
    return items[0] if items and "LUTDescriptor" in items[0] and "LUTData" in items[0] else None
