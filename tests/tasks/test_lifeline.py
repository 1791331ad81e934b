"""The lock of a run: whoever is gone, however, is found once."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.core.errors import StorageError
from tasks.lifeline import alive, has_lost, in_turn_at, lost

ROOT = Path(__file__).parents[2]
LIVES = (
    "import sys, time; from pathlib import Path; from tasks.lifeline import alive\n"
    "with alive(Path(sys.argv[1]), sys.argv[2]):\n    print('lives', flush=True); time.sleep(600)"
)


def test_a_run_that_ends_by_itself_is_not_lost(tmp_path):
    with alive(tmp_path, "one"):
        assert list(lost(tmp_path)) == []
    assert list(lost(tmp_path)) == []
    assert list((tmp_path / "alive").iterdir()) == []


def test_a_run_that_was_killed_is_lost_and_told_once(tmp_path):
    living = [start(tmp_path, key) for key in ("one", "two")]
    living[0].kill()
    living[0].wait()
    try:
        assert list(lost(tmp_path)) == ["one"]
        assert list(lost(tmp_path)) == []
    finally:
        living[1].kill()
        living[1].wait()
    assert list(lost(tmp_path)) == ["two"]


def test_a_run_that_ends_by_an_error_is_told(tmp_path):
    """It had the time to say how it ended, or had not: whoever asks looks."""
    with pytest.raises(KeyError), alive(tmp_path, "one"):
        raise KeyError
    assert list(lost(tmp_path)) == ["one"]


def test_a_lost_run_that_nobody_could_deal_with_is_told_again(tmp_path):
    with pytest.raises(KeyError), alive(tmp_path, "one"):
        raise KeyError
    asking = lost(tmp_path)
    assert next(asking) == "one"
    assert list(lost(tmp_path)) == []  # one at a time
    asking.close()
    assert has_lost(tmp_path)
    assert list(lost(tmp_path)) == ["one"]


def test_the_same_run_can_live_again(tmp_path):
    for _ in range(2):
        living = start(tmp_path, "one")
        living.kill()
        living.wait()
    assert list(lost(tmp_path)) == ["one"]
    with alive(tmp_path, "one"):
        assert list(lost(tmp_path)) == []


def test_a_home_that_cannot_be_written_is_said_to_be_so(tmp_path):
    (tmp_path / "alive").write_text("a file")
    with pytest.raises(StorageError, match="remove it"), alive(tmp_path, "one"):
        time.sleep(0)


def start(home: Path, key: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", LIVES, str(home), key]
    living = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert living.stdout is not None
    assert living.stdout.readline() == "lives\n"
    return living


def test_a_piece_of_work_that_somebody_is_at_is_waited_for_also_where_that_one_is_killed(tmp_path):
    code = LIVES.replace("alive", "in_turn_at").replace("sys.argv[2])", "sys.argv[2], waiting=print)")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), "work"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "lives\n"
        waited = []

        def wait() -> None:
            waited.append(True)
            other.kill()

        with in_turn_at(tmp_path, "work", waiting=wait):
            assert waited == [True]
            with in_turn_at(tmp_path, "other work", waiting=pytest.fail):
                pass
    assert list((tmp_path / "at-work").iterdir()) == []


def test_work_is_done_by_one_at_a_time_whoever_removes_the_lock(tmp_path):
    """Each thread opens a file of its own, as processes do."""
    at_it: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            with in_turn_at(tmp_path, "work", waiting=lambda: None):
                at_it.append(number)
                assert at_it == [number]
                at_it.clear()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
