"""The process in which GDCM decodes compressed DICOM pixels. Started by data_checks.images.codestream, never imported.

In, on stdin: for each picture the length of a JSON head (8 bytes, little-endian), the head, and the stream. Out, on
stdout: the length of the pixels and the pixels; no pixels where it cannot be decoded. Ends when stdin ends.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import Any

#: What the parent takes as "no GDCM here".
NO_GDCM = 3
LENGTH = struct.Struct("<q")


def main() -> None:
    """Decode until stdin ends."""
    # C++ writes to stdout too: the answers get a pipe of their own, and all else goes nowhere.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        import gdcm
    except ImportError:
        sys.exit(NO_GDCM)
    for mute in (gdcm.Trace.DebugOff, gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff):
        mute()
    while length := sys.stdin.buffer.read(LENGTH.size):
        asked = json.loads(sys.stdin.buffer.read(LENGTH.unpack(length)[0]))
        pixels = decode(gdcm, sys.stdin.buffer.read(asked["length"]), asked)
        answers.write(LENGTH.pack(len(pixels)) + pixels)
        answers.flush()


def decode(gdcm: Any, stream: bytes, asked: dict[str, Any]) -> bytes:
    """Return the pixels of one stream, row by row, samples together; nothing where GDCM cannot decode it."""
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((asked["columns"], asked["rows"], 1))
    image.SetDataElement(element)
    photometric = gdcm.PhotometricInterpretation.GetPIType(asked["photometric"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(photometric))
    if asked["samples"] > 1:
        image.SetPlanarConfiguration(0)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(asked["syntax"])))
    bits = asked["bits"]
    image.SetPixelFormat(gdcm.PixelFormat(asked["samples"], asked["allocated"], bits, bits - 1, 0))
    text = image.GetBuffer()
    # GDCM hands bytes out as text; None where it failed.
    return b"" if text is None else text.encode("utf-8", "surrogateescape")


if __name__ == "__main__":
    main()
