"""The estimate of the time left follows what was measured."""

from __future__ import annotations

import pytest

from tasks.core.estimate import GUESSED_S, Stage, seconds_left


def test_before_anything_is_measured_the_guess_covers_features_and_diseases():
    left = seconds_left({"scan": Stage(0, 1000, 0.0)}, diseases=5)
    assert left == pytest.approx(
        1000 * GUESSED_S["scan"] + 1000 * GUESSED_S["features"] + 5 * GUESSED_S["train"]
    )


def test_a_stage_that_runs_goes_on_at_its_own_pace():
    stages = {"scan": Stage(1000, 1000, 2.0), "features": Stage(250, 1000, 5.0)}
    assert seconds_left(stages, diseases=0) == pytest.approx(15.0)


def test_nothing_is_left_when_all_is_done():
    stages = {"scan": Stage(10, 10, 1.0), "features": Stage(10, 10, 1.0), "train": Stage(5, 5, 9.0)}
    assert seconds_left(stages, diseases=5) == 0


def test_what_is_in_the_cache_is_not_waited_for():
    assert seconds_left({"scan": Stage(0, 0, 0.0)}, diseases=2) == pytest.approx(2 * GUESSED_S["train"])


def test_what_is_drawn_will_be_scanned_and_needs_features():
    left = seconds_left({"draw": Stage(50, 100, 5.0)}, diseases=1)
    assert left == pytest.approx(
        5.0 + 100 * GUESSED_S["scan"] + 100 * GUESSED_S["features"] + GUESSED_S["train"]
    )
