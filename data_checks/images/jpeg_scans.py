"""JPEG streams that would take hours: a scan goes over the whole picture, and a stream may repeat it without end.

Stands below raster and dicom_pixels, which ask before anything is decoded. In: a stream and its size. Out: nothing, or the
reason why it is not decoded.
"""

from __future__ import annotations

from data_checks.images.unreadable import Header, UnreadableImage

#: Pixels that all scans of a stream may go over: a hundred times the largest image. libjpeg takes 0.61 ns a pixel and
#: scan here, so 4 s; encoders write no more than a dozen scans.
MAX_SCANNED = 6_400_000_000
# Of an image of a few pixels, what surrounds a scan takes the time.
_LEAST_PIXELS = 10_000
# In coded data, 0xFF is always followed by 0 or a restart marker (ITU-T T.81, B.1.1.5); what other segments hold counts
# as well, which is far from enough to matter.
_START_OF_SCAN = b"\xff\xda"


def refuse_endless(data: bytes, pixels: int, *, header: Header | None = None) -> None:
    """Refuse a stream whose scans take longer than any radiograph's.

    Args:
        data: JPEG, whole.
        pixels: width times height.
        header: what is known of the file.

    Raises:
        UnreadableImage: It has too many scans for its size.
    """
    scans = data.count(_START_OF_SCAN)
    if scans * max(pixels, _LEAST_PIXELS) > MAX_SCANNED:
        raise UnreadableImage("corrupt", f"{scans} scans of {pixels} pixels", header=header)
