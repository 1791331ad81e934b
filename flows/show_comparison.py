"""What a person sees of a comparison in the terminal: a table of figures, then the verdicts, then where to look further."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from flows.terminal import TABLE_WIDTH, open_console, say
from tasks.core.card import interval
from tasks.core.comparison import DiseaseComparison, Side
from tasks.core.verdict import price_of
from tasks.publish_comparison import Published

_STYLES = {"better": "bold", "equivalent": "green", "not_shown": "yellow", "undefined": "red"}


def show_comparison(published: Published) -> None:
    """Print AUROCs, difference and price of every disease, each verdict, what it must be read with, and the links."""
    comparison = published.comparison
    first, second = comparison.profiles
    out = open_console()
    out.width = max(out.width, TABLE_WIDTH)
    title = f"{first} against {second}: test rows, 95 % intervals by patient. Not for diagnosis."
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("disease", no_wrap=True)
    for name in ("images", f"AUROC {first}", f"AUROC {second}", "difference", "p", "corrected", "price"):
        table.add_column(name, justify="right")
    for one in comparison.diseases:
        table.add_row(*map(Text, _row(one)))
    out.print(table)
    for one in comparison.diseases:
        say(out, f"{one.disease}: {one.verdict}", _STYLES[one.decision])
    shared = _shared(comparison.diseases)
    for one in comparison.diseases:
        for warning in one.warnings:
            if warning not in shared:
                say(out, f"{one.disease}: {warning}", "yellow")
    for warning in shared:
        say(out, warning, "yellow")
    for champion in published.champions:
        say(out, f"{champion.sentence()}.", "bold" if champion.is_new else "")
    say(out, f"{published.seconds:.1f} s.", "bold")
    say(out, f"page   {published.page}\nmlflow {published.link}")


def _row(one: DiseaseComparison) -> list[str]:
    paired = one.paired
    if paired is None:
        return [one.disease, *("-" for _ in range(7))]
    difference = "-"
    if paired.difference is not None:
        ends = "" if paired.low is None else f" ({paired.low:+.3f} to {paired.high:+.3f})"
        difference = f"{paired.difference:+.3f}{ends}"
    return [
        one.disease,
        f"{paired.n:,}",
        *(_auroc(side) for side in one.sides),
        difference,
        "-" if paired.p_value is None else f"{paired.p_value:.2g}",
        "-" if one.p_holm is None else f"{one.p_holm:.2g}",
        _price(one),
    ]


def _auroc(side: Side) -> str:
    known = side.estimates.get("auroc")
    if side.auroc is None or known is None:
        return "-"
    return interval(known, digits=3)


def _price(one: DiseaseComparison) -> str:
    price = price_of(*one.sides)
    if price.ratio is None:
        return "not known"
    if price.cheaper is None:
        return "about the same"
    return f"{price.cheaper} {price.times} faster"


def _shared(diseases: tuple[DiseaseComparison, ...]) -> list[str]:
    """Return the warnings that every disease that was compared has: they are said once."""
    compared = [one for one in diseases if one.sides]
    if len(compared) < 2:
        return []
    return [said for said in compared[0].warnings if all(said in one.warnings for one in compared)]
