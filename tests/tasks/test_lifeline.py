"""The lock of a run: whoever is gone, however, is found once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.core.errors import StorageError
from tasks.lifeline import alive, has_lost, lost

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
