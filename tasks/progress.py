"""How far a run is: stages say it, whoever started the run may listen.

Without a listener nothing is said; the terminal (`flows/terminal.py`) sets one. A listener is bound to the
context, and Prefect hands the context on to its task threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

#: Called with the stage, how much of it is done, and how much there is.
Listener = Callable[[str, int, int], None]

_listener: ContextVar[Listener | None] = ContextVar("radtrain_progress", default=None)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have everything in this context tell the listener how far it is."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(stage: str, done: int, total: int) -> None:
    """Say that `done` of `total` images (or diseases) of a stage are through."""
    listener = _listener.get()
    if listener is not None:
        listener(stage, done, total)
