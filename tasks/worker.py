"""The process that holds TensorFlow, and the pool that keeps it alive; what it can be asked is in `tasks/compute.py`.

TensorFlow costs 5 s and 0.7 GB, so one worker is started early, imports it beside everything else, and serves
all diseases. It may die (no memory, a crash) without taking the flow along: only the request it was at fails.
Requests are paths and figures in, paths and figures out.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

from tasks.core.errors import RadtrainError
from tasks.store import writing

P = ParamSpec("P")
R = TypeVar("R")


class Worker:
    """One process with TensorFlow, kept over requests; a request whose process dies raises, the next gets a new one."""

    def __init__(self, pool: ProcessPool) -> None:
        self._pool = pool
        self._asked: set[Future[Any]] = set()

    def ask(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function of `tasks/compute.py` there, and return what it returns or raise what it raises.

        Raises:
            WorkerDied: the process ended in the middle of it, or the request was dropped.
        """
        future = self._pool.schedule(work, args=list(args), kwargs=dict(kwargs))
        self._asked.add(future)
        try:
            return future.result()
        except ProcessExpired as death:
            raise WorkerDied(_cause(death.exitcode), killed=death.exitcode == -signal.SIGKILL) from death
        except CancelledError as stop:
            raise WorkerDied("it was stopped with the run") from stop
        finally:
            self._asked.discard(future)

    def tell(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have a function run there ahead of time; whether it fails is found out by whoever needs its result."""
        self._pool.schedule(work, args=list(args), kwargs=dict(kwargs))

    def drop_requests(self) -> None:
        """End whatever the process does, and tell who waits for it; a thread that waits would keep the others."""
        for future in tuple(self._asked):
            future.cancel()


class WorkerDied(RadtrainError):
    """The TensorFlow process ended in the middle of a request; the text says by what.

    Args:
        cause: by what.
        killed: by a SIGKILL, as the system does where memory runs out.
    """

    def __init__(self, cause: str, *, killed: bool = False) -> None:
        self.cause, self.killed = cause, killed
        super().__init__(
            f"The TensorFlow process ended: {cause}.",
            expected="a process that lives until its work is done",
            fix="run the same command again: what was computed is kept; if it was out of memory, close other "
            "programs or name fewer diseases",
        )


_ambient: ContextVar[Worker | None] = ContextVar("radtrain_worker", default=None)


@contextlib.contextmanager
def start_worker(log: Path | None = None) -> Iterator[Worker]:
    """Start the process at once, in the background; it ends with the context.

    Within the context, starting once more gives the same one: the command line starts it beside its own
    imports, and the flow, which must do without a command line, finds it there.

    Args:
        log: file that takes what TensorFlow writes to stderr, its last words included; None leaves it there.

    Raises:
        StorageError: the log cannot be written.
    """
    running = _ambient.get()
    if running is not None:
        try:
            yield running
        except BaseException:  # the user's Ctrl-C, or what broke the flow: nobody waits for the rest
            running.drop_requests()
            raise
        return
    with fresh_worker(log, _import_all) as worker:
        token = _ambient.set(worker)
        try:
            yield worker
        finally:
            _ambient.reset(token)


@contextlib.contextmanager
def fresh_worker(log: Path | None, prepare: Callable[[], object]) -> Iterator[Worker]:
    """Start a process whatever others there are, for what must have one to itself; it ends with the context.

    Args:
        log: as for `start_worker`.
        prepare: what it does before it serves its first request.

    Raises:
        StorageError: the log cannot be written.
    """
    if log is not None:
        with writing(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPool(max_workers=1, context=spawn, initializer=_warm_up, initargs=[log, prepare])
    try:
        pool.schedule(os.getpid)  # pebble starts its process with the first request
        yield Worker(pool)
    finally:
        pool.stop()
        pool.join()


def import_tensorflow() -> None:
    """Import what computing takes, and nothing else."""
    import keras  # noqa: F401


def _import_all() -> None:
    """Import what every request needs, while the flow does other things."""
    import_tensorflow()
    from mlflow import tensorflow  # noqa: F401


def _warm_up(log: Path | None, prepare: Callable[[], object]) -> None:
    if log is not None:
        with log.open("ab") as file:
            os.dup2(file.fileno(), sys.stderr.fileno())
    prepare()


def _cause(exit_code: int) -> str:
    """Say by what a process ended."""
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"{name}{' (out of memory, or killed by hand)' if name == 'SIGKILL' else ''}"
    return f"exit code {exit_code}"
