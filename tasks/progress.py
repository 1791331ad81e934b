"""How far a run is: stages say it, whoever started the run may listen.

Without a listener nothing is said; the terminal (`flows/terminal.py`) sets one. A listener is bound to the
context, and Prefect hands the context on to its task threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from tasks.core.pace import Forecast

#: Called with the stage, how much of it is done, and how much there is.
Listener = Callable[[str, int, int], None]

#: Called once, before anything that takes long, with what it will take.
Expecter = Callable[[Forecast], None]

#: Called with a sentence about what goes on.
Announcer = Callable[[str], None]

_announcer: ContextVar[Announcer | None] = ContextVar("radtrain_announced", default=None)
_expecter: ContextVar[Expecter | None] = ContextVar("radtrain_expected", default=None)
_listener: ContextVar[Listener | None] = ContextVar("radtrain_progress", default=None)


@contextlib.contextmanager
def listening(
    listener: Listener, expecter: Expecter | None = None, announcer: Announcer | None = None
) -> Iterator[None]:
    """Have everything in this context tell the listener how far it is, and the others how long it will take and why it waits."""
    tokens = _listener.set(listener), _expecter.set(expecter), _announcer.set(announcer)
    try:
        yield
    finally:
        _listener.reset(tokens[0])
        _expecter.reset(tokens[1])
        _announcer.reset(tokens[2])


def expect(forecast: Forecast) -> None:
    """Say what the rest of the run is expected to take."""
    expecter = _expecter.get()
    if expecter is not None:
        expecter(forecast)


def announce(sentence: str) -> None:
    """Say what the run is waiting for."""
    announcer = _announcer.get()
    if announcer is not None:
        announcer(sentence)


def report(stage: str, done: int, total: int) -> None:
    """Say that `done` of `total` images (or diseases, trials, arms) of a stage are through."""
    listener = _listener.get()
    if listener is not None:
        listener(stage, done, total)
