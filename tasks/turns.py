"""Who computes next: one request of a run at a time, the urgent ones first, and the runs of one home folder in turns.

turns/next   turns/cores
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tasks.files import alone

#: How often somebody who waits looks whether to go on waiting, seconds.
_LOOK_S = 0.1


class Door:
    """Lets one request of a run through at a time, the urgent ones first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_open, self._urgent = True, 0

    @contextlib.contextmanager
    def pass_through(self, is_urgent: bool, *, check: Callable[[], None]) -> Iterator[None]:
        """Hold the door within this context; `check` is called again and again while waiting, which ends if it raises."""
        with self._changed:
            self._urgent += is_urgent
            try:
                check()
                while not self._is_open or (self._urgent and not is_urgent):
                    self._changed.wait(_LOOK_S)
                    check()
                self._is_open = False
            finally:
                self._urgent -= is_urgent
        try:
            yield
        finally:
            with self._changed:
                self._is_open = True
                self._changed.notify_all()


@contextlib.contextmanager
def take_turn(folder: Path, *, check: Callable[[], None]) -> Iterator[None]:
    """Keep requests of other runs out for as long as the context lasts.

    Whoever is next holds the first lock while it waits for the second, so that two runs alternate.

    Args:
        folder: of the two locks.
        check: called again and again while waiting, which ends if it raises.

    Raises:
        StorageError: the locks cannot be made.
    """
    with (
        alone(folder / "next", check=check) as leave_the_queue,
        alone(folder / "cores", check=check),
    ):
        leave_the_queue()
        yield
