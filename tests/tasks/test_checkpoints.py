"""Checkpoints: the last sound one is found again, whatever became of the newest."""

from __future__ import annotations

import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from tasks.checkpoints import ABANDONED_DAYS, CheckpointFolder, checkpoint_folder, forget_checkpoints
from tasks.core.errors import StorageError
from tasks.core.fitting import Epoch, State


def state(epochs: int, size: int = 12) -> State:
    """Return the state after some epochs of a training with three variables, the last one a count."""
    random = np.random.default_rng(epochs)
    weights = [random.normal(size=size).astype(np.float32), random.normal(size=(2, 3)).astype(np.float32)]
    history = [Epoch(n, 1 / n, 0.5, 0.7 if n > 1 else math.nan, 3, 48, 0.25) for n in range(1, epochs + 1)]
    return State(history, [*weights, np.array(3 * epochs)], [weight * 2 for weight in weights])


def same(one: State, other: State) -> bool:
    return str(one.history) == str(other.history) and all(
        len(these) == len(those)
        and all(
            (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
            for a, b in zip(these, those, strict=True)
        )
        for these, those in ((one.variables, other.variables), (one.best, other.best))
    )


def filled(folder: Path, epochs: int) -> Path:
    """Save the states after each of some epochs."""
    for number in range(1, epochs + 1):
        CheckpointFolder(folder).save(state(number))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_without_a_checkpoint_training_begins_anew(tmp_path):
    kept = CheckpointFolder(tmp_path / "none")
    assert same(kept.load(), State())
    assert (kept.resumed_after, kept.damaged) == (0, 0)


def test_the_last_state_comes_back_as_it_was(tmp_path):
    kept = CheckpointFolder(filled(tmp_path / "plan", 11))
    found = kept.load()
    assert same(found, state(11))
    assert math.isnan(found.history[0].validation_auroc)
    assert (kept.resumed_after, kept.damaged) == (11, 0)


def test_variables_come_back_in_their_order_however_many_there_are(tmp_path):
    many = State(state(1).history, [np.array(n) for n in range(1200)], [np.array(-n) for n in range(1100)])
    CheckpointFolder(tmp_path).save(many)
    assert same(CheckpointFolder(tmp_path).load(), many)


def test_the_last_two_are_kept(tmp_path):
    assert names(filled(tmp_path, 10)) == ["epoch-0009.npz", "epoch-0010.npz"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"\0" * len(data),
        lambda data: b"PK\x03\x04 and then nothing of a zip",
        lambda data: b"\x93NUMPY\x01\x00 an array that is no archive",
        lambda data: b"garbage" * 100,
    ],
    ids=["cut in half", "one byte short", "empty", "zeros", "a zip's head", "an array's head", "garbage"],
)
def test_a_damaged_newest_is_passed_over_for_the_one_before_and_counted(tmp_path, damage):
    newest = filled(tmp_path, 3) / "epoch-0003.npz"
    newest.write_bytes(damage(newest.read_bytes()))
    kept = CheckpointFolder(tmp_path)
    assert same(kept.load(), state(2))
    assert (kept.resumed_after, kept.damaged) == (2, 1)
    kept.save(state(3))
    assert same(CheckpointFolder(tmp_path).load(), state(3))


def test_a_checkpoint_with_any_bit_flipped_is_damaged(tmp_path):
    newest = filled(tmp_path, 3) / "epoch-0003.npz"
    data = newest.read_bytes()
    for place in range(0, len(data), 11):
        broken = bytearray(data)
        broken[place] ^= 1 << place % 8
        newest.write_bytes(broken)
        kept = CheckpointFolder(tmp_path)
        assert len(kept.load().history) == 2, f"byte {place}, bit {place % 8}"
        assert kept.damaged == 1


def test_a_checkpoint_that_may_not_be_read_is_passed_over(tmp_path):
    newest = filled(tmp_path, 3) / "epoch-0003.npz"
    newest.unlink()
    newest.symlink_to(newest)  # the superuser may read whatever has its permissions taken away
    kept = CheckpointFolder(tmp_path)
    assert same(kept.load(), state(2))
    assert kept.damaged == 1


def test_where_all_are_damaged_training_begins_anew_and_its_checkpoints_are_found(tmp_path):
    for path in filled(tmp_path, 5).iterdir():
        path.write_bytes(b"")
    kept = CheckpointFolder(tmp_path)
    assert same(kept.load(), State())
    assert (kept.resumed_after, kept.damaged) == (0, 2)
    for number in (1, 2):
        kept.save(state(number))
        again = CheckpointFolder(tmp_path)
        assert same(again.load(), state(number))
        assert (again.resumed_after, again.damaged) == (number, 0)


def test_a_full_disk_is_an_error_with_a_remedy_and_leaves_the_older_ones(tiny_disk):
    folder = filled(tiny_disk / "plan", 2)
    with pytest.raises(StorageError) as caught:
        CheckpointFolder(folder).save(state(3, size=30_000))
    assert caught.value.exit_code == 15
    said = str(caught.value)
    assert "received: No space left on device" in said
    assert "free some space" in said
    assert names(folder) == ["epoch-0001.npz", "epoch-0002.npz"]
    assert same(CheckpointFolder(folder).load(), state(2))


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where a folder is needed")
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        CheckpointFolder(checkpoint_folder(tmp_path, "a" * 64)).save(state(1))


def test_each_plan_has_a_folder_of_its_own(tmp_path):
    one, other = (checkpoint_folder(tmp_path, digit * 64) for digit in "ab")
    filled(one, 2)
    assert same(CheckpointFolder(other).load(), State())
    assert one == tmp_path / "checkpoints" / ("a" * 32)


def test_what_is_forgotten_is_gone_and_nothing_else(tmp_path):
    one, other = (filled(checkpoint_folder(tmp_path, digit * 64), 2) for digit in "ab")
    forget_checkpoints(one)
    assert not one.exists()
    assert same(CheckpointFolder(other).load(), state(2))
    forget_checkpoints(one)  # twice is no error
    shutil.rmtree(other)


def test_what_was_abandoned_for_a_month_goes_with_it(tmp_path):
    one, old, young = (filled(checkpoint_folder(tmp_path, digit * 64), 2) for digit in "abc")
    for folder, days in ((old, ABANDONED_DAYS + 1), (young, ABANDONED_DAYS - 1)):
        then = time.time() - days * 86_400
        os.utime(folder, (then, then))
    forget_checkpoints(one)
    assert names(tmp_path / "checkpoints") == [young.name]
    assert same(CheckpointFolder(young).load(), state(2))
