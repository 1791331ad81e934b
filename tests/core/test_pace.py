"""How long a training will take, and what a time limit leaves room for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import TimeLimitTooShort
from tasks.core.pace import MARGIN, Forecast, duration, steps_that_fit


def forecast(steps: int) -> Forecast:
    """10 s of features for a step and 2 s of training, and 2 s of the rest."""
    return Forecast(10.0 * steps, 2.0 * steps, 2.0, steps, steps)


@given(limit=st.floats(30, 10_000), spent=st.floats(0, 10), most=st.integers(1, 500))
def test_the_steps_fit_and_one_more_would_not(limit, spent, most):
    left = limit * (1 - MARGIN) - spent
    try:
        steps = steps_that_fit(forecast, most=most, limit_s=limit, spent_s=spent)
    except TimeLimitTooShort:
        assert forecast(1).seconds > left
        return
    assert 1 <= steps <= most
    assert forecast(steps).seconds <= left
    assert steps == most or forecast(steps + 1).seconds > left


def test_a_limit_that_is_too_short_for_one_step_says_what_would_do():
    with pytest.raises(TimeLimitTooShort) as raised:
        steps_that_fit(forecast, most=10, limit_s=15, spent_s=3)
    text = str(raised.value)
    assert "expected: at least 0.4 minutes" in text  # (12 + 3 + 2) / 0.9 = 18.9 s
    assert "received: 0.25 minutes" in text
    assert "--time-limit 0.4" in text
    steps = steps_that_fit(forecast, most=10, limit_s=0.4 * 60, spent_s=3)
    assert steps == 1  # what it names is enough


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (99.4, "99 s"), (210, "3.5 min"), (7560, "2.1 h")]
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert duration(seconds) == said


def test_a_forecast_says_what_it_counts():
    said = Forecast(60, 4, 15, 1439, 50).sentence()
    assert said == (
        "about 79 s: 1439 images and variants through the frozen layers (60 s), 50 steps of training (4 s), "
        "scores and files (15 s)"
    )
