"""The worker: it survives the death of its process."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tasks.worker import Worker, fresh_worker, start_worker
from tasks.worker_death import RequestDropped, WorkerDied

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


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


def test_a_process_that_dies_while_nothing_is_asked_of_it_is_replaced(worker: Worker):
    before = worker.ask(os.getpid)
    os.kill(before, signal.SIGKILL)
    time.sleep(1)
    assert worker.ask(os.getpid) not in (before, os.getpid())


def test_asking_twice_keeps_what_the_first_try_died_of(tmp_path):
    with fresh_worker(None, os.getpid) as worker:
        answer = worker.ask_twice(None, _die_once, tmp_path / "mark", signal.SIGSEGV)
        assert answer.value == "done"
        assert answer.death is not None
        assert re.fullmatch(r"SIGSEGV, having taken 0\.\d\d GiB", answer.death.cause)
        assert worker.ask_twice(None, os.getpid).death is None


def test_a_second_death_is_raised(tmp_path):
    with fresh_worker(None, os.getpid) as worker, pytest.raises(WorkerDied, match="exit code 3"):
        worker.ask_twice(None, _leave, 3)


def test_a_request_that_overruns_its_limit_is_ended_and_tried_again(tmp_path):
    with fresh_worker(None, os.getpid) as worker:
        answer = worker.ask_twice(1, _sleep_once, tmp_path / "mark")
        assert answer.value == "done"
        assert answer.death is not None
        assert answer.death.cause.startswith("its limit of 1 s ran out")
        with pytest.raises(WorkerDied, match="its limit of 1 s ran out"):
            worker.ask_twice(1, time.sleep, 60)
        assert worker.ask(os.getpid) > 0


def test_a_dropped_request_is_not_tried_again(tmp_path):
    with fresh_worker(None, os.getpid) as worker, ThreadPoolExecutor() as threads:
        waiting = [threads.submit(worker.ask_twice, None, time.sleep, 60) for _ in range(2)]
        time.sleep(1)
        worker.drop_requests()
        for future in waiting:
            with pytest.raises(RequestDropped):
                future.result(timeout=20)


def test_a_process_ends_with_whoever_started_it(tmp_path):
    code = (
        "import os, sys, time\nfrom tasks.worker import fresh_worker\n"
        "if __name__ == '__main__':\n"
        "    with fresh_worker(None, os.getpid) as worker:\n"
        "        print(worker.ask(os.getpid), flush=True)\n"
        "        worker.ask(time.sleep, 600)\n"
    )
    script = tmp_path / "asks.py"
    script.write_text(code)
    words = [sys.executable, str(script)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT) as asking:
        assert asking.stdout is not None
        child = int(asking.stdout.readline())
        time.sleep(0.5)
        asking.kill()
    ends = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < ends, "the process outlived its parent"
        time.sleep(0.05)


def test_two_runs_of_one_home_compute_in_turns(tmp_path):
    """Each request of one run waits for at most one of the other."""
    turns = tmp_path / "turns"
    with (
        fresh_worker(None, os.getpid, turns=turns) as one,
        fresh_worker(None, os.getpid, turns=turns) as other,
        ThreadPoolExecutor() as threads,
    ):
        asked = [threads.submit(run.ask, _span) for run in (one, other) for _ in range(4)]
        spans = sorted(future.result(timeout=60) for future in asked)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    changes = sum(before[2] != after[2] for before, after in itertools.pairwise(spans))
    assert changes >= 5


def test_a_request_that_waits_for_another_run_can_be_dropped(tmp_path):
    turns = tmp_path / "turns"
    with (
        fresh_worker(None, os.getpid, turns=turns) as one,
        fresh_worker(None, os.getpid, turns=turns) as other,
        ThreadPoolExecutor() as threads,
    ):
        busy = threads.submit(one.ask, time.sleep, 4)
        time.sleep(1)
        waiting = threads.submit(other.ask, os.getpid)
        time.sleep(0.5)
        other.drop_requests()
        with pytest.raises(RequestDropped):
            waiting.result(timeout=1)
        busy.result(timeout=30)


def _die_once(mark: Path, number: int) -> str:
    if mark.exists():
        return "done"
    mark.touch()
    time.sleep(0.5)  # so that its memory is seen
    os.kill(os.getpid(), number)
    return "alive"


def _sleep_once(mark: Path) -> str:
    if not mark.exists():
        mark.touch()
        time.sleep(60)
    return "done"


def _span() -> tuple[float, float, int]:
    began = time.monotonic()
    time.sleep(0.3)
    return began, time.monotonic(), os.getpid()
