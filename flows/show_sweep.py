"""What a person sees of a sweep in the terminal: a table, what is to be said of each disease, and the command that uses it."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from flows.terminal import TABLE_WIDTH, open_console, say
from tasks.core.card import interval
from tasks.core.report import Outcome
from tasks.core.search import Searched
from tasks.core.sweep_report import SweepReport

_STYLES = {"better": "bold green", "worse": "red", "not_shown": "yellow", "own": "yellow"}


def show_sweep(report: SweepReport) -> None:
    """Print AUROCs of both contenders for every disease, each verdict with its command, and where to look further."""
    out = open_console()
    out.width = max(out.width, TABLE_WIDTH)
    title = f"sweep/{report.profile}: AUROC on validation rows, 95 % intervals by patient. Not for diagnosis."
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("disease", no_wrap=True)
    for name in ("trials", "images", "as it is", "best trial", "difference", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in report.results:
        table.add_row(*map(Text, _row(result)))
    out.print(table)
    for found in report.searched():
        say(out, f"{found.disease}: {found.sentence()}", _STYLES[found.decision])
        if found.options:
            say(out, f"  train with it: {found.command}")
    for outcome in report.failed():
        say(out, f"{outcome.disease} failed. {outcome.reason}", "bold red")
        say(out, f"  repeat it: {outcome.repeat}", "red")
    say(out, f"{report.message()} {report.seconds:.1f} s.", "bold")
    say(out, f"files  {report.folder}\nmlflow {report.tracking_uri} run {report.run_id}")


def _row(result: Searched | Outcome) -> list[str]:
    if isinstance(result, Outcome):
        return [result.disease, "failed", *("-" for _ in range(5))]
    paired = result.paired
    difference = "-"
    if paired.difference is not None and paired.low is not None and paired.high is not None:
        difference = f"{paired.difference:+.3f} ({paired.low:+.3f} to {paired.high:+.3f})"
    return [
        result.disease,
        str(len(result.trials)),
        str(result.best_validation.n),
        interval(result.own_validation, digits=2),
        interval(result.best_validation, digits=2),
        difference,
        f"{result.duration_s:.1f}",
    ]
