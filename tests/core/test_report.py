"""What a run came to: the gravest code wins, and states and tags say causes, not folder names."""

from __future__ import annotations

import pytest

from tasks.core.errors import StorageError
from tasks.core.report import Outcome, Report, reason_of

DONE = Outcome("pneumonia", "completed")
NO_FOLDER = Outcome("arthritis", "failed", reason="'x' of Ann", cause="class_folder_missing", exit_code=11)
CRASHED = Outcome("osteoporosis", "failed", reason="boom", cause="ValueError", exit_code=1)
NO_SPACE = Outcome("bone_fracture", "failed", reason="full", cause="StorageError", exit_code=15)


def report(*outcomes: Outcome) -> Report:
    return Report("run", "fast", outcomes, 1.0, "sqlite:///x", "/home")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([DONE], 0),
        ([DONE, NO_FOLDER], 11),
        ([NO_FOLDER, CRASHED], 1),
        ([NO_FOLDER, CRASHED, NO_SPACE], 15),
    ],
)
def test_the_gravest_failure_gives_the_exit_code(outcomes, code):
    assert report(*outcomes).exit_code() == code


def test_the_message_of_the_state_names_causes_and_no_folder():
    said = report(DONE, NO_FOLDER, CRASHED).message()
    assert said == (
        "1 of 3 diseases completed. arthritis failed: class_folder_missing. osteoporosis failed: ValueError."
    )
    assert "Ann" not in said


def test_an_error_of_the_user_keeps_its_remedy_and_code():
    error = StorageError("The disk is full.", fix="free some space")
    assert reason_of(error) == ("The disk is full. To mend it: free some space", 15)


def test_any_other_error_is_named_by_its_class():
    assert reason_of(ValueError("bad\nlines")) == ("ValueError: bad", 1)
