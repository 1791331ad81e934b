"""What is expected of every table, as plain records: generated from the contract, and the rules between rows.

In: the name of a table of `data_checks/contract.py`. Out: expectations. Nothing is evaluated here and nothing heavy
is imported; `data_checks/expectations.py` evaluates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_checks.contract import TABLES, Column
from data_checks.findings import Severity

#: The code that everything in this file is reported under.
BROKEN = "contract_broken"

#: Columns that name a row together, where no single one does.
_KEYS = {
    "manifest": ("disease", "path"),
    "evidence": ("disease", "path"),
    "folders": ("disease", "folder"),
    "classes": ("disease", "label"),
    "counts": ("disease", "split", "label"),
    "audit": ("disease", "probe"),
}

#: What must hold between the rows of a table: kind, and the columns that it reads.
_BETWEEN_ROWS = {
    "manifest": (
        ("expect_groups_to_stay_in_one_split", ("disease", "group", "split")),
        ("expect_patients_to_stay_in_one_split", ("disease", "patient", "split")),
        ("expect_used_images_to_stand_once", ("disease", "image", "reason")),
        ("expect_used_images_to_have_one_label", ("disease", "image", "label", "reason")),
        ("expect_used_rows_to_be_complete", ("image", "label", "group", "split", "reason")),
    ),
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that every row of a table is expected to keep.

    Attributes:
        code: key of `findings.CODES` that a failing row is reported under.
        table: key of `contract.TABLES`.
        kind: name of a Great Expectations expectation in snake_case: one of the library's, or one of
            `data_checks/expectations.py`.
        arguments: of the kind, such as {"column": "contrast", "min_value": 2.0}.
        severity: of what is reported.
        only_used: ask it of the rows whose `reason` is empty alone; for tables that have this column.
    """

    code: str
    table: str
    kind: str
    arguments: Mapping[str, Any]
    severity: Severity = "fail"
    only_used: bool = False

    @property
    def of_table(self) -> bool:
        """Whether it is about a table as a whole, so that no single row can break it."""
        return self.kind.startswith("expect_table_")

    @property
    def reads(self) -> frozenset[str]:
        """The columns that it needs; what is about a whole table needs none."""
        given = self.arguments
        read = {given[key] for key in ("column", "column_A", "column_B") if key in given}
        read |= set() if self.of_table else set(given.get("column_list", ()))
        return frozenset(read | {"reason"} if self.only_used else read)


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one expectation.

    Attributes:
        expectation: that was asked.
        evaluated: rows that were looked at; 0 where the table lacks a column that it reads.
        failing: positions of the rows that do not keep it, ascending, counted from 0 in the whole table.
        success: whether it is kept. What is asked of a whole table, such as its columns, can fail without a row.
    """

    expectation: Expectation
    evaluated: int
    failing: tuple[int, ...]
    success: bool


class SuiteBroken(Exception):
    """Expectations were not evaluated as they were asked, so nothing can be said of the table: a fault of the program.

    Args:
        what: is wrong, one sentence.
        where: the table, and the expectation if it is about one.
        expected: what would have been right.
        received: what came instead.
        fix: what to do.
    """

    def __init__(self, what: str, *, where: str, expected: object, received: object, fix: str) -> None:
        said = {"where": where, "expected": expected, "received": received, "fix": fix}
        super().__init__("\n".join([what, *(f"  {key + ':':<10}{value}" for key, value in said.items())]))


def contract_suite(table: str) -> tuple[Expectation, ...]:
    """Return everything that the contract says of a table.

    Raises:
        KeyError: the contract has no such table.
    """
    columns = TABLES[table]
    asked: list[tuple[str, dict[str, Any]]] = [
        ("expect_table_columns_to_match_ordered_list", {"column_list": [column.name for column in columns]})
    ]
    for column in columns:
        asked += _of_one_column(column)
    if table in _KEYS:
        asked.append(("expect_compound_columns_to_be_unique", _rows(_KEYS[table])))
    for kind, names in _BETWEEN_ROWS.get(table, ()):
        asked.append((kind, _rows(names)))
    return tuple(Expectation(BROKEN, table, kind, arguments) for kind, arguments in asked)


def _rows(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments of what is expected of several columns: every row counts, an empty one too."""
    return {"column_list": list(names), "ignore_row_if": "never"}


def _of_one_column(column: Column) -> list[tuple[str, dict[str, Any]]]:
    """Return kind and arguments of what is expected of the values of a column; empty ones are passed over."""
    name = {"column": column.name}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("expect_column_values_to_fit_their_type", {**name, "arrow_type": str(column.type)})
    ]
    if not column.nullable:
        asked.append(("expect_column_values_to_not_be_null", name))
    if column.low is not None or column.high is not None:
        limits = {"min_value": column.low, "max_value": column.high}
        asked.append(("expect_column_values_to_lie_within", {**name, **limits}))
    if column.values:
        asked.append(("expect_column_values_to_be_in_set", {**name, "value_set": list(column.values)}))
    if column.pattern is not None:
        asked.append(("expect_column_values_to_fit_a_pattern", {**name, "pattern": column.pattern}))
    if column.unique:
        asked.append(("expect_column_values_to_be_unique", name))
    return asked
