"""The compressed pixels inside a DICOM file: what their own header says, and the decoders that live in another process.

Stands below dicom. GDCM is the only decoder of JPEG Lossless and JPEG-LS at hand, and damaged bytes end its process
(an uncaught C++ exception) and make it write to the terminal: it runs in a child, `gdcm_child.py`, which may die.
"""

from __future__ import annotations

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

import numpy as np

from data_checks.images.unreadable import UnreadableImage

#: GDCM decodes about 40 MB/s here: a stream that takes longer than this is none of a radiograph.
LIMIT_S = 60

_CHILD = Path(__file__).with_name("gdcm_child.py")
#: Exit status of a child that has no GDCM.
_NO_GDCM = 3
_LENGTH = struct.Struct("<q")

# JPEG's start-of-frame markers (ITU-T T.81, table B.1) and JPEG-LS's (T.87); what is not in here ends no header.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_START_OF_JPEG = b"\xff\xd8"
_J2K = b"\xff\x4f\xff\x51"  # start of codestream, size marker (ISO/IEC 15444-1, A.5.1)


@dataclass(frozen=True, slots=True)
class Stream:
    """What a compressed stream says of itself."""

    rows: int
    columns: int
    samples: int
    bits: int


def stream_header(stream: bytes) -> Stream:
    """Read the size that a JPEG, JPEG-LS or JPEG 2000 stream claims, before anything is decoded.

    Raises:
        UnreadableImage: It has no header, or several.
    """
    # Some writers keep the boxes of a .jp2 file before the stream itself.
    start = -1 if stream.startswith(_START_OF_JPEG) else stream.find(_J2K)
    try:
        if start >= 0:
            right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
            samples, bits = struct.unpack_from(">HB", stream, start + 40)
            return Stream(bottom - top, right - left, samples, (bits & 0x7F) + 1)
        found = list(_frame_places(stream))
        if len(found) != 1:
            raise UnreadableImage("corrupt", f"{len(found)} JPEG headers, expected 1")
        bits, rows, columns, samples = struct.unpack_from(">BHHB", stream, found[0] + 4)
    except struct.error as error:
        raise UnreadableImage("truncated", "the compressed pixels end within their header") from error
    return Stream(rows, columns, samples, bits)


def _frame_places(stream: bytes) -> Iterator[int]:
    """Yield the places of JPEG's start-of-frame markers before the first scan."""
    place = 2
    while place + 4 <= len(stream) and stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker == _START_OF_SCAN:
            return
        if marker in _START_OF_FRAME:
            yield place
        if marker == 0xFF:
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + int.from_bytes(stream[place + 2 : place + 4], "big")


def decode_in_child(stream: bytes, syntax: str, *, header: Stream, photometric: str) -> np.ndarray:
    """Decode a stream with GDCM in another process.

    Args:
        stream: Compressed pixels of one picture.
        syntax: UID of the transfer syntax.
        header: What `stream_header` says of it; the caller has found it sound.
        photometric: DICOM's photometric interpretation.

    Returns:
        (rows, columns) or (rows, columns, samples), uint8 where a sample has up to 8 bits, else uint16; signs not extended.

    Raises:
        UnreadableImage: GDCM cannot decode it, did not end, or is not there.
    """
    kind = np.dtype("<u1" if header.bits <= 8 else "<u2")
    asked = {
        "syntax": syntax,
        "photometric": photometric,
        "rows": header.rows,
        "columns": header.columns,
        "samples": header.samples,
        "allocated": kind.itemsize * 8,
        "bits": header.bits,
    }
    children = _children(os.getpid())
    child = children.take()
    alarm = threading.Timer(LIMIT_S, child.kill)
    alarm.start()
    answer = None
    try:
        answer = _ask(child, asked, stream)
    except OSError:  # the pipe is broken: the child has died, and below it is asked why
        answer = None
    finally:
        alarm.cancel()
        if answer is None:
            children.end(child)
        else:
            children.give_back(child)
    if answer is None:
        reason = "unsupported_compression" if child.returncode == _NO_GDCM else "corrupt"
        raise UnreadableImage(reason, f"the decoder ended with status {child.returncode}")
    shape = (header.rows, header.columns, header.samples)[: 2 if header.samples == 1 else 3]
    if len(answer) != int(np.prod(shape)) * kind.itemsize:
        raise UnreadableImage("corrupt", "the compressed pixels cannot be decoded")
    return np.frombuffer(answer, kind).reshape(shape)


def _ask(child: subprocess.Popen[bytes], asked: dict[str, str | int], stream: bytes) -> bytes | None:
    """Return the child's answer, empty where it cannot decode; None where it ended instead."""
    assert child.stdin is not None
    assert child.stdout is not None
    head = json.dumps({**asked, "length": len(stream)}).encode()
    child.stdin.write(_LENGTH.pack(len(head)) + head + stream)
    child.stdin.flush()
    length = _read(child.stdout, _LENGTH.size)
    return None if length is None else _read(child.stdout, _LENGTH.unpack(length)[0])


def _read(pipe: IO[bytes], length: int) -> bytes | None:
    data = pipe.read(length)
    return data if len(data) == length else None


class _Children:
    """The children that wait for work: as many as there were threads that decoded at once."""

    def __init__(self) -> None:
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        atexit.register(self._end_all)

    def take(self) -> subprocess.Popen[bytes]:
        try:
            return self._idle.get_nowait()
        except Empty:
            # -P: this folder's modules shadow none of Python's. A child ends when its stdin does, so also with kill -9.
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", str(_CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )

    def give_back(self, child: subprocess.Popen[bytes]) -> None:
        self._idle.put(child)

    def end(self, child: subprocess.Popen[bytes]) -> None:
        """End a child that does not answer, after a moment in which it may end by itself and say why."""
        try:
            child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            child.kill()
        for pipe in (child.stdin, child.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:  # what was not written yet cannot be: nobody reads it
                continue
        child.wait()

    def _end_all(self) -> None:
        while True:
            try:
                child = self._idle.get_nowait()
            except Empty:
                return
            child.kill()
            self.end(child)


@cache
def _children(process: int) -> _Children:  # noqa: ARG001
    """Return the children of this process; a fork does not share its parent's pipes."""
    return _Children()
