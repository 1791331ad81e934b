"""Are the columns in docs/reference/tables.md those of the contract? `--write` renews them. Run by `make check`.

Each table of the contract stands between two comments of the page; the text around them is written by people.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from data_checks.contract import TABLES, Column
from data_checks.reasons import EXCLUDED, UNREACHABLE, UNREADABLE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "tables.md"
_COMMAND = "python -m tests.architecture.reference_pages --write"
_END = "<!-- end of columns -->"
_HEAD = ("| column | type | may be empty | allowed | meaning |", "|---|---|---|---|---|")


def begin(table: str) -> str:
    """Return the comment that the columns of a table stand below."""
    return f"<!-- columns of {table}: `{_COMMAND}` -->"


def columns_table(columns: tuple[Column, ...]) -> str:
    """Return the columns as a table in Markdown."""
    lines = [*_HEAD]
    for column in columns:
        cells = (
            f"`{column.name}`",
            str(column.type),
            "yes" if column.nullable else "no",
            allowed(column),
            column.meaning,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def allowed(column: Column) -> str:
    """Return which values a column may have; 'any' where its type says it all."""
    said = []
    if column.low is not None and column.high is not None:
        said.append(f"{column.low:g} to {column.high:g}")
    elif column.low is not None:
        said.append(f"{column.low:g} and more")
    elif column.high is not None:
        said.append(f"{column.high:g} and less")
    if column.values:
        said.append(_values(column.values))
    if column.pattern is not None:
        said.append(f"`{column.pattern}`")
    if column.unique:
        said.append("no value twice")
    return "; ".join(said) or "any"


def _values(values: tuple[str, ...]) -> str:
    """Return all values, or where they are listed if they are codes of reasons."""
    tables: Mapping[str, Mapping[str, str]] = {
        "excluded": EXCLUDED,
        "unreachable": UNREACHABLE,
        "unreadable": UNREADABLE,
    }
    reasons = [name for name, codes in tables.items() if set(codes) <= set(values)]
    if sum(len(tables[name]) for name in reasons) == len(values):
        return f"a reason of the [checks](checks.md): {', '.join(reasons)}"
    return ", ".join(f"`{value}`" for value in values)


def renewed(page: str) -> str:
    """Return the page with the columns of every table of the contract.

    Raises:
        ValueError: the page has not exactly one place for each table.
    """
    marked = re.findall(r"<!-- columns of (\w+):", page)
    if sorted(marked) != sorted(TABLES) or page.count(_END) != len(TABLES):
        raise ValueError(
            "docs/reference/tables.md has not one place for the columns of each table.\n"
            f"  expected: one each of {', '.join(TABLES)}\n"
            f"  received: {', '.join(marked) or 'none'}; {page.count(_END)} ends\n"
            f"  fix:      below the heading of the table, write the two lines\n{begin('TABLE')}\n{_END}"
        )
    for table, columns in TABLES.items():
        place = rf"<!-- columns of {table}:.*?{re.escape(_END)}"
        made = "\n".join((begin(table), "", columns_table(columns), "", _END))
        page = re.sub(place, lambda _, made=made: made, page, flags=re.DOTALL)
    return page


def main(arguments: list[str], page: Path = PAGE) -> int:
    """Check or write; return 0 where the page is right."""
    written = page.read_text(encoding="utf-8")
    fresh = renewed(written)
    if "--write" in arguments:
        page.write_text(fresh, encoding="utf-8")
    elif fresh != written:
        print(
            f"{page.name} does not have the columns of the contract. To mend it: {_COMMAND}", file=sys.stderr
        )
        return 1
    print(f"{page.name} has the columns of the contract")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
