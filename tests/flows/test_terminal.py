"""What a person sees in a terminal: bars with the time left, on a console that is one."""

from __future__ import annotations

import io

from rich.console import Console
from rich.progress import Progress

from flows.terminal import COLUMNS, _Follower, following, show_report
from tasks.core.metrics import Estimate
from tasks.core.report import Outcome, Report
from tasks.progress import report


def test_bars_show_how_much_is_done_and_about_how_long_it_takes():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, legacy_windows=False)
    with Progress(*COLUMNS, console=console) as progress:
        follow = _Follower(progress, console, diseases=5)
        follow("scan", 64, 100)
        follow("scan", 100, 100)
        follow("features", 10, 100)
        follow("train", 1, 5)
    shown = screen.getvalue()
    assert "reading images" in shown
    assert "100/100" in shown
    assert "features" in shown
    assert "1/5" in shown
    assert "s left" in shown


def test_without_a_terminal_each_stage_says_one_line(capsys):
    with following(2):
        report("scan", 64, 100)
        report("scan", 100, 100)
    said = capsys.readouterr().err
    assert said.count("reading images: 100 done") == 1


def test_nobody_needs_to_listen():
    report("scan", 1, 2)


def test_the_table_shows_a_failed_disease_with_its_reason_and_command_as_they_are(capsys):
    outcomes = (
        Outcome(
            "pneumonia",
            "completed",
            counts={"train": 60, "validation": 20, "test": 20},
            test={
                "auroc": Estimate(0.912, 0.87, 0.95, 20),
                "sensitivity": Estimate(0.9, None, None, 10),
                "specificity": Estimate(float("nan"), None, None, 0),
            },
            seconds=1.25,
            features_cached=1.0,
        ),
        Outcome(
            "arthritis",
            "failed",
            reason="'[x]' is missing.",
            cause="source_missing",
            repeat="radtrain again",
            exit_code=11,
        ),
    )
    show_report(Report("run", "fast", outcomes, 3.0, "sqlite:///x", "/place"))
    out = capsys.readouterr().out
    assert "0.91 (0.87-0.95)" in out
    assert "0.90 (unknown)" in out
    assert "undefined" in out
    assert "arthritis failed. '[x]' is missing." in out, "no markup is read into folder names"
    assert "repeat it: radtrain again" in out
