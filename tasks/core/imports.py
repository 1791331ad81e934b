"""Imports in bulk, without looking for garbage in between."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Switch the garbage collector off in this context, and leave what was imported out of its later rounds.

    What a module defines stays, so nothing is found; to look costs a sixth of the processor time of TensorFlow's and
    of Prefect's imports (docs/LOG.md, 2026-11-28).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
