"""Whose model is the champion of a disease after each kind of comparison."""

import pytest

from tasks.core.champion import choose
from tests.core.test_comparison import ALIKE, LOSES, UNCLEAR, WINS, made, said

#: Seconds of the first and of the second profile, fast and intensive.
CHEAP, DEAR, SAME = (2.0, 126.0), (126.0, 2.0), (2.0, 2.1)


@pytest.mark.parametrize(
    ("figures", "seconds", "standing", "chosen"),
    [
        (LOSES, CHEAP, None, "intensive"),
        (LOSES, CHEAP, "fast", "intensive"),
        (WINS, DEAR, "intensive", "fast"),
        (ALIKE, CHEAP, None, "fast"),
        (ALIKE, CHEAP, "intensive", "fast"),
        (ALIKE, DEAR, "fast", "intensive"),
        (ALIKE, SAME, "intensive", "intensive"),
        (ALIKE, SAME, None, "fast"),
        (UNCLEAR, CHEAP, None, "fast"),
        (UNCLEAR, DEAR, None, "intensive"),
        (UNCLEAR, CHEAP, "intensive", "intensive"),
        (UNCLEAR, SAME, None, "fast"),
        (LOSES, CHEAP, "distilled", "distilled"),
    ],
)
def test_a_champion_gives_way_only_to_what_was_shown(figures, seconds, standing, chosen):
    p = 0.5 if figures is UNCLEAR else 0.001
    assert choose(said(made(*figures, p=p, seconds=seconds)), standing) == chosen


@pytest.mark.parametrize("standing", [None, "fast"])
def test_what_could_not_be_compared_changes_nothing(standing):
    assert choose(said(made(None, 0.0, None, p=None)), standing) == standing
