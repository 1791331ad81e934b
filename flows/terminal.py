"""What a person sees of a run in the terminal: live progress with the time left, then a table.

Progress goes to stderr, so that stdout holds nothing but the result.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from data_checks.contract import SPLITS
from data_checks.findings import Finding
from data_checks.report import CheckReport, Verdict
from data_checks.visible import visible
from flows.output import write_nowhere
from tasks.core.card import interval
from tasks.core.estimate import Stage, seconds_left
from tasks.core.pace import Forecast
from tasks.core.report import Outcome, Report
from tasks.mend_catalog import Mended
from tasks.progress import listening

#: A cell is never cut: a table wider than the terminal is folded by it instead.
TABLE_WIDTH = 116
#: Files that are named for one finding; the page and --json name more.
_NAMED = 3
_SCORES = ("auroc", "sensitivity", "specificity")
COLUMNS = (
    TextColumn("{task.description:>15}"),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("{task.fields[left]}"),
)
_NAMES = {"draw": "drawing", "scan": "reading images", "features": "features"}


class _Follower:
    """Turns what stages say into bars, or into a line per stage where nobody looks at a terminal."""

    def __init__(
        self, progress: Progress, console: Console, diseases: int, counting: str = "classifiers"
    ) -> None:
        self._progress, self._console, self._diseases = progress, console, diseases
        self._names = {**_NAMES, "train": counting}
        self._bars: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._stages: dict[str, Stage] = {}
        self._expected: dict[str, float] = {}

    def expect(self, forecast: Forecast) -> None:
        """Take a forecast into the time left, and say it."""
        self._expected = {"features": forecast.features_s, "train": forecast.training_s + forecast.rest_s}
        self.say(f"expected: {forecast.sentence()}")

    def say(self, sentence: str) -> None:
        """Show a sentence above the bars."""
        self._console.print(sentence, highlight=False)

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        began = self._began.setdefault(stage, now)
        self._stages[stage] = Stage(done, total, now - began)
        left = seconds_left(self._stages, diseases=self._diseases, expected=self._expected)
        if not self._console.is_terminal:
            if done == total:
                self._console.print(
                    f"{self._names[stage]}: {total} done, about {left:.0f} s left", highlight=False
                )
            return
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(self._names[stage], total=total, left="")
        self._progress.update(self._bars[stage], completed=done, total=total)
        for bar in self._bars.values():
            self._progress.update(bar, left="")
        self._progress.update(self._bars[stage], left=f"about {left:.0f} s left" if left >= 1 else "")


@contextlib.contextmanager
def following(diseases: int, counting: str = "classifiers") -> Iterator[None]:
    """Show the progress of the run in this context on stderr; `counting` is what its last stage counts."""
    console = open_console(stderr=True)
    progress = Progress(*COLUMNS, console=console, transient=True, disable=not console.is_terminal)
    follower = _Follower(progress, console, diseases, counting)
    with progress, listening(follower, follower.expect, follower.say):
        yield


_STATES = {
    "pass": ("pass", "green"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "bold red"),
    "skipped": ("skipped", "dim"),
}
_SEVERITIES = {"fail": "red", "warn": "yellow", "note": "dim"}


def show_check(report: CheckReport, page: Path | None) -> None:
    """Print the table of verdicts, then every fault with what mends it; notes are told in one line each."""
    console = open_console()
    console.width = max(console.width, TABLE_WIDTH)
    table = Table(
        title="Data checks. Not for diagnosis.", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in ("disease", "verdict"):
        table.add_column(name, no_wrap=True)
    for name in ("files", "images", "train -/+", "validation -/+", "test -/+", "best shortcut"):
        table.add_column(name, justify="right", no_wrap=True)
    for verdict in report.verdicts:
        table.add_row(*_check_row(verdict))
    console.print(table)
    for verdict in report.verdicts:
        for finding in verdict.findings:
            _say_finding(console, finding)
    known = ", nothing had changed" if report.reused else ""
    say(
        console,
        f"{report.message()} {report.files} files, {report.read} of them read now{known}; {report.seconds:.1f} s.",
        "bold",
    )
    if page is not None:
        say(console, f"page {page}")


def show_difference(mended: Mended) -> None:
    """Print how the catalog is about to change, on stderr."""
    console = open_console(stderr=True)
    say(console, f"{mended.path}:", "bold")
    styles = {"+": "green", "-": "red"}
    for line in mended.difference.splitlines():
        say(console, line, styles.get(line[:1], "dim"))


def _check_row(verdict: Verdict) -> list[Text]:
    word, style = _STATES[verdict.state]
    counts = [
        f"{verdict.negatives[split]}/{verdict.positives[split]}" if split in verdict.negatives else "-"
        for split in SPLITS
    ]
    best = verdict.best_shortcut
    said = "-" if best is None else f"{best.probe} {best.auroc:.2f}"
    cells = [str(verdict.files or "-"), str(verdict.images or "-"), *counts, said]
    return [Text(verdict.disease), Text(word, style=style), *map(Text, cells)]


def _say_finding(console: Console, finding: Finding) -> None:
    style = _SEVERITIES[finding.severity]
    say(console, f"{finding.disease}: {finding.severity}: {finding.code}: {finding.text}", style)
    if finding.severity == "note":
        if finding.detail:
            say(console, f"  there {visible(finding.detail)}")
        return
    named = [visible(place) for place in finding.places[:_NAMED]]
    more = f" and {finding.count - len(named)} more" if finding.count > len(named) else ""
    for label, said in (
        ("there", visible(finding.detail)),
        ("files", ", ".join(named) + more if named else ""),
        ("mend", finding.fix),
    ):
        if said:
            say(console, f"  {label:<6}{said}", style if label == "mend" else "")


def show_report(report: Report) -> None:
    """Print the table of diseases, what the checks found, and each failure with the command to repeat it."""
    console = open_console()
    console.width = max(console.width, TABLE_WIDTH)
    title = f"train-all/{report.profile}: test rows, 95 % intervals by patient. Not for diagnosis."
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("disease", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("images", "AUROC", "sensitivity", "specificity", "seconds", "from cache"):
        table.add_column(name, justify="right", no_wrap=True)
    for outcome in report.outcomes:
        table.add_row(*_row(outcome))
    console.print(table)
    for outcome in report.outcomes:
        for finding in outcome.findings:
            if finding.severity == "warn":
                say(console, f"{outcome.disease}: {finding.code}: {finding.text}", "yellow")
        if outcome.retried:
            say(console, f"{outcome.disease} took two tries; the first ended by {outcome.retried}.", "yellow")
    for outcome in report.failed():
        say(console, f"{outcome.disease} failed. {outcome.reason}", "bold red")
        say(console, f"  repeat it: {outcome.repeat}", "red")
    say(console, f"{report.message()} {report.seconds:.1f} s.", "bold")
    if report.unchanged():
        say(console, "Unchanged: same images, figures, seed and code as in that run. --force trains again.")
    say(console, f"files  {report.folder}\nmlflow {report.tracking_uri} run {report.run_id}")


def _row(outcome: Outcome) -> list[Text]:
    good = outcome.state != "failed"
    images = sum(outcome.counts.values())
    scores = [interval(outcome.test[name], digits=2) if name in outcome.test else "-" for name in _SCORES]
    cells = [
        outcome.disease,
        outcome.state,
        str(images) if images else "-",
        *scores,
        f"{outcome.seconds:.1f}" if outcome.state == "completed" else "-",
        f"{outcome.features_cached:.0%}" if images else "-",
    ]
    return [Text(cell, style="" if good else "red") for cell in cells]


class _Console(Console):
    """Goes on where the reader went away, as `head` does: the exit code is still that of the report."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        write_nowhere(self.file)


def open_console(*, stderr: bool = False) -> Console:
    """Return a console that writes as escapes what the terminal's encoding lacks: a name must not end the program."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return _Console(stderr=stderr)


def say(console: Console, text: str, style: str = "") -> None:
    """Print text as it is: folder names in it are no markup."""
    console.print(Text(text, style=style), soft_wrap=True)
