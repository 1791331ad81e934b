"""What a person sees of a speed ablation in the terminal: the report's table, every arm, what must be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.core.ablation import Ablation
from tasks.core.ablation_table import arm_rows, lever_rows, notes
from tasks.core.levers import SOURCE

#: Wide enough for every column: a cell is folded by the terminal rather than cut.
WIDTH = 160


def show_ablation(ablation: Ablation, *, folder: str, tracking_uri: str) -> None:
    """Print the ablation to stdout."""
    console = Console()
    console.width = max(console.width, WIDTH)
    ground, size = ablation.ground, ablation.size
    where = f"{ground.disease}, {ground.n_train} training and {ground.n_validation} validation images"
    machine = f"{ground.cores} cores{f' of {ground.processor}' if ground.processor else ''}"
    title = f"Seven levers, alone and added up; claims of {SOURCE}. Not for diagnosis.\n{where}; {machine}"
    console.print(_table(title, lever_rows(ablation)))
    title = (
        "What was measured: medians over so many steps (the first one left out) and epochs; here: on these images, "
        f"as many as were run. The report's size: {size.train} training images."
    )
    console.print(_table(title, arm_rows(ablation)))
    for said in notes(ablation):
        console.print(Text(said, style="dim"), soft_wrap=True)
    console.print(Text(f"{ablation.sentence()} {ablation.seconds:.0f} s.", style="bold"), soft_wrap=True)
    console.print(Text(f"files  {folder}\nmlflow {tracking_uri} run {ablation.run_id}"), soft_wrap=True)


def _table(title: str, rows: Sequence[Mapping[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        left = name in ("lever", "from", "to", "arm")
        whole = left or name.startswith("AUROC")
        table.add_column(name, no_wrap=whole, justify="left" if left else "right")
    for row in rows:
        table.add_row(*map(Text, row.values()))
    return table
