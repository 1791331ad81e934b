"""The process that holds TensorFlow, and the pool that keeps it alive; what it can be asked is in `tasks/compute.py`.

TensorFlow costs 5 s and 0.7 GB, so one worker is started early, imports it beside everything else, and serves
all diseases. It may die (no memory, a crash) without taking the flow along: only the request it was at fails.
Requests are paths and figures in, paths and figures out.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

from tasks.core.imports import importing
from tasks.files import writing
from tasks.lifeline import die_with_parent
from tasks.measure_machine import peak_memory
from tasks.turns import Door, take_turn
from tasks.worker_death import RequestDropped, WorkerDied, cause_of

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


#: How often a request looks whether it was dropped, has run too long, and how much memory its process has.
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a request gave, and what its first try died of, if it took two."""

    value: T
    death: WorkerDied | None


@dataclass(frozen=True, slots=True)
class _Wish:
    """How a request is to be served: seconds that it may take, and whether it goes before others."""

    limit_s: float | None = None
    is_urgent: bool = False


class Worker:
    """One process with TensorFlow, kept over requests; a request whose process dies raises, the next gets a new one.

    Args:
        start: starts a pool of one process.
        pid: where that process writes its number.
        turns: folder of the locks by which the runs of one home folder take turns; None for a run that has the
            machine to itself.
    """

    def __init__(self, start: Callable[[], ProcessPool], pid: Any, turns: Path | None) -> None:
        self._start, self._pid, self._turns = start, pid, turns
        self._pool = start()
        self._asked: set[Future[Any]] = set()
        self._drops = 0
        self._changing, self._door = threading.Lock(), Door()

    def ask(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function of `tasks/compute.py` there, and return what it returns or raise what it raises.

        Raises:
            WorkerDied: the process ended in the middle of it, or the request was dropped.
        """
        return self._ask(_Wish(), work, *args, **kwargs)

    def ask_soon(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask twice, and before those who wait longer: for what is short and brings something to its end.

        Raises:
            WorkerDied: the process ended in both tries, or the request was dropped.
        """
        return self._ask_twice(_Wish(is_urgent=True), work, *args, **kwargs).value

    def ask_twice(
        self, limit_s: float | None, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Answer[R]:
        """Ask, and ask once more where the process ended or overran its limit: a death may have been an accident.

        Args:
            limit_s: seconds that each try may take once the process serves it; None for no limit.
            work: as for `ask`; what it does is done twice without harm.
            *args: of the function.
            **kwargs: of the function.

        Raises:
            WorkerDied: it ended in the second try as well, or the request was dropped.
        """
        return self._ask_twice(_Wish(limit_s), work, *args, **kwargs)

    def tell(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have a function run there ahead of time; whether it fails is found out by whoever needs its result."""
        self._schedule(work, *args, **kwargs)

    def process_id(self) -> int:
        """Return the number of the process that is there now; 0 before the first."""
        return self._pid.value

    def drop_requests(self) -> None:
        """End whatever the process does, and tell who waits for it; a thread that waits would keep the others."""
        self._drops += 1
        for future in tuple(self._asked):
            future.cancel()

    def stop(self) -> None:
        """End the process."""
        self._pool.stop()
        self._pool.join()

    def _ask_twice(self, wish: _Wish, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Answer[R]:
        try:
            return Answer(self._ask(wish, work, *args, **kwargs), None)
        except RequestDropped:
            raise
        except WorkerDied as death:
            return Answer(self._ask(wish, work, *args, **kwargs), death)

    def _ask(self, wish: _Wish, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        drops = self._drops
        with self._turn(drops, wish):
            future = self._schedule(work, *args, **kwargs)
            self._asked.add(future)
            try:
                return self._wait(future, drops, wish.limit_s)
            finally:
                self._asked.discard(future)

    def _schedule(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        with self._changing:
            try:
                return self._pool.schedule(work, args=list(args), kwargs=dict(kwargs))
            except RuntimeError:  # a process that dies while nothing is asked of it breaks its pool
                self._pool.stop()
                self._pool.join()
                self._pool = self._start()
                return self._pool.schedule(work, args=list(args), kwargs=dict(kwargs))

    def _wait(self, future: Future[Any], drops: int, limit_s: float | None) -> Any:
        """Return the result of a request. Seconds are counted by a clock that nobody sets, from when it is served."""
        began, memory = math.inf, peak_memory(self._pid.value) or 0
        while not wait([future], timeout=_LOOK_S).done:
            memory = peak_memory(self._pid.value) or memory
            began = min(began, time.monotonic()) if future.running() else began
            if limit_s is not None and time.monotonic() - began > limit_s:
                future.cancel()
                break
        try:
            return future.result()
        except ProcessExpired as death:
            raise WorkerDied(
                cause_of(death.exitcode), killed=death.exitcode == -signal.SIGKILL, memory=memory
            ) from death
        except BrokenProcessPool as death:
            raise WorkerDied("it ended before it could begin", memory=memory) from death
        except CancelledError as stop:
            if self._drops == drops:
                raise WorkerDied(f"its limit of {limit_s:.0f} s ran out", memory=memory) from stop
            raise RequestDropped() from stop

    @contextlib.contextmanager
    def _turn(self, drops: int, wish: _Wish) -> Iterator[None]:
        """Wait until no other request computes, of this run or of another one of the same home folder."""

        def check() -> None:
            self._require(drops)

        with (
            self._door.pass_through(wish.is_urgent, check=check),
            contextlib.nullcontext() if self._turns is None else take_turn(self._turns, check=check),
        ):
            yield

    def _require(self, drops: int) -> None:
        if self._drops != drops:
            raise RequestDropped()


_ambient: ContextVar[Worker | None] = ContextVar("radtrain_worker", default=None)


@contextlib.contextmanager
def start_worker(home: Path | None = None) -> Iterator[Worker]:
    """Start the process at once, in the background; it ends with the context.

    Within the context, starting once more gives the same one: the command line starts it beside its own
    imports, and the flow, which must do without a command line, finds it there.

    Args:
        home: the home folder: what TensorFlow writes to stderr goes to a log there, its last words included, and
            the runs that share it compute in turns. None leaves stderr where it is, and waits for nobody.

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
    log, turns = (None, None) if home is None else (home / "logs" / "worker.log", home / "turns")
    with fresh_worker(log, _import_all, turns=turns) as worker:
        token = _ambient.set(worker)
        try:
            yield worker
        finally:
            _ambient.reset(token)


@contextlib.contextmanager
def fresh_worker(
    log: Path | None, prepare: Callable[[], object], *, turns: Path | None = None
) -> Iterator[Worker]:
    """Start a process whatever others there are, for what must have one to itself; it ends with the context.

    Args:
        log: file that takes what it writes to stderr; None leaves that where it is.
        prepare: what it does before it serves its first request.
        turns: as for `Worker`.

    Raises:
        StorageError: the log cannot be written.
    """
    if log is not None:
        with writing(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
    spawn = multiprocessing.get_context("spawn")
    pid = spawn.Value("i", 0)

    def start() -> ProcessPool:
        pool = ProcessPool(max_workers=1, context=spawn, initializer=_warm_up, initargs=[log, prepare, pid])
        pool.schedule(os.getpid)  # pebble starts its process with the first request
        return pool

    worker = Worker(start, pid, turns)
    try:
        yield worker
    finally:
        worker.stop()


def import_tensorflow() -> None:
    """Import what computing takes, and nothing else."""
    import keras  # noqa: F401


def _import_all() -> None:
    """Import what every request needs, while the flow does other things."""
    import_tensorflow()
    from mlflow import tensorflow  # noqa: F401


def _warm_up(log: Path | None, prepare: Callable[[], object], pid: Any) -> None:
    die_with_parent(signal.SIGKILL)
    pid.value = os.getpid()
    if log is not None:
        with log.open("ab") as file:
            os.dup2(file.fileno(), sys.stderr.fileno())
    with importing():
        prepare()
