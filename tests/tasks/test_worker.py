"""The worker: it survives the death of its process."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tasks.worker import Worker, WorkerDied, start_worker


def test_a_worker_that_is_killed_fails_one_request_and_serves_the_next(worker: Worker):
    before = worker.ask(os.getpid)
    with pytest.raises(WorkerDied, match=r"SIGKILL \(out of memory, or killed by hand\)"):
        worker.ask(_kill_yourself, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="exit code 3"):
        worker.ask(_leave, 3)
    assert worker.ask(os.getpid) not in (before, os.getpid())


def test_starting_a_worker_within_its_context_gives_the_same_one(worker: Worker):
    with start_worker() as again:
        assert again is worker
    assert worker.ask(os.getpid) > 0


def test_whoever_leaves_by_an_error_ends_what_others_wait_for(worker: Worker):
    with ThreadPoolExecutor() as threads:
        waiting: list[Future[None]] = []
        with pytest.raises(KeyboardInterrupt):
            _ask_and_leave(threads, waiting)
        for future in waiting:
            with pytest.raises(WorkerDied, match="stopped with the run"):
                future.result(timeout=30)
    assert worker.ask(os.getpid) > 0


def _ask_and_leave(threads: ThreadPoolExecutor, waiting: list[Future[None]]) -> None:
    with start_worker() as worker:
        waiting += [threads.submit(worker.ask, time.sleep, 600) for _ in range(2)]
        time.sleep(0.5)
        raise KeyboardInterrupt


def _kill_yourself(number: int) -> None:
    os.kill(os.getpid(), number)


def _leave(code: int) -> None:
    os._exit(code)
