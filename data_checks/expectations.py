"""Great Expectations behind one door: tables and expectations in, failing rows out.

The one file that imports great_expectations, which takes seconds: import this file late, in the body of what needs
it. Nothing is written, printed or sent; values of the tables do not enter the results. In: data frames and the
records of `data_checks/suites.py`. Out: `Judged`.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from data_checks import row_rules
from data_checks.suites import Expectation, Judged, SuiteBroken

# Versions with telemetry read it when they are imported.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import great_expectations as gx
from great_expectations.data_context.types import base
from great_expectations.exceptions import ExpectationNotFoundError
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    MulticolumnMapMetricProvider,
    column_condition_partial,
    multicolumn_condition_partial,
)
from great_expectations.expectations.registry import get_expectation_impl

# pyright: reportPrivateImportUsage=false
# These are the library's documented names; it marks none of them as exported.

#: Name of the index that counts the rows. 20,000 failing rows cost 20 ms with it, 440 ms with a column of that name.
_ROW = "row"
_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [_ROW],
    # Numbers of rows are all that is asked for: values could be names of files or patients.
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
    "partial_unexpected_count": 0,
}
_OTHER_VERSION = "compare the installed great-expectations with the version in requirements.lock"
#: The library makes contexts safely one at a time, and they share state: one context, one judge at a time.
_LOCK = threading.Lock()


def load_ahead() -> None:
    """Make the library ready, so that the first `judge` need not wait; importing this file is most of it."""
    with _LOCK:
        _context()


def judge(tables: Mapping[str, pd.DataFrame], expectations: Sequence[Expectation]) -> list[Judged]:
    """Evaluate expectations, each on its table.

    Args:
        tables: data frame of each table; the index is not looked at.
        expectations: what is asked, at least one of each table.

    Returns:
        One record per expectation, in their order. Where a table lacks a column that an expectation reads, that
        expectation is not kept, with no row evaluated.

    Raises:
        SuiteBroken: a table without expectations or an expectation without its table, an unknown kind or argument,
            or the library evaluated less than it was asked.
    """
    _refuse_gaps(tables, expectations)
    batches: dict[tuple[str, bool], dict[int, Expectation]] = {}
    judged: dict[int, Judged] = {}
    for number, asked in enumerate(expectations):
        if asked.reads <= set(tables[asked.table].columns):
            batches.setdefault((asked.table, asked.only_used), {})[number] = asked
        else:
            judged[number] = Judged(asked, 0, (), success=False)
    with _LOCK:
        for (table, only_used), asked in batches.items():
            rows = tables[table].set_axis(pd.RangeIndex(len(tables[table]), name=_ROW), axis=0)
            judged |= _evaluate(rows[rows["reason"].isna()] if only_used else rows, asked, table)
    return [judged[number] for number in range(len(expectations))]


def _refuse_gaps(tables: Mapping[str, pd.DataFrame], expectations: Sequence[Expectation]) -> None:
    """Raise SuiteBroken unless tables and expectations are about each other; the library passes an empty suite."""
    named = list(dict.fromkeys(asked.table for asked in expectations))
    if not expectations or set(named) != set(tables):
        raise SuiteBroken(
            "Tables and expectations do not match, so a table would pass without being looked at.",
            where=", ".join(sorted(set(tables) ^ set(named))) or "no table",
            expected=f"at least one expectation of each of the tables {', '.join(tables) or '(none)'}",
            received=f"{len(expectations)} expectations, of the tables {', '.join(named) or '(none)'}",
            fix="hand judge() the tables that its expectations name, and no others",
        )


# Asking the library


@functools.cache
def _context() -> Any:
    """Return the one context of this process; it lives in memory. Hold `_LOCK`."""
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # `_read` raises what it would say
    config = base.DataContextConfig(
        # Otherwise a folder for its pages is made on disk.
        store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=base.ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _evaluate(rows: pd.DataFrame, asked: Mapping[int, Expectation], table: str) -> dict[int, Judged]:
    """Evaluate the expectations of one table; the frame's index numbers its rows."""
    suite = gx.ExpectationSuite(table, expectations=[_made(asked[number], number) for number in asked])
    sources = _context().data_sources
    # A data source of its own for each batch: an older one would hold on to the frames of the past.
    source = sources.add_pandas(table)
    try:
        whole = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe(table)
        results = whole.get_batch({"dataframe": rows}).validate(suite, result_format=_RESULT_FORMAT).results
    finally:
        sources.delete(table)
    return _read_all(results, asked, table, rows=len(rows))


def _read_all(
    results: Sequence[Any], asked: Mapping[int, Expectation], table: str, *, rows: int
) -> dict[int, Judged]:
    """Turn the library's results into records; it sorts them by column, and calls an empty suite a success.

    Raises:
        SuiteBroken: there is not exactly one result for each expectation.
    """
    found = {result.expectation_config.meta["number"]: result for result in results}
    if len(results) != len(asked) or set(found) != set(asked):
        raise SuiteBroken(
            "The library did not evaluate every expectation.",
            where=f"table {table}",
            expected=f"{len(asked)} results",
            received=f"{len(results)} results, of {len(set(found) & set(asked))} of the expectations",
            fix=_OTHER_VERSION,
        )
    return {number: _read(found[number], asked[number], rows) for number in asked}


def _made(asked: Expectation, number: int) -> Any:
    """Return the library's expectation, with its number as the way back."""
    try:
        return get_expectation_impl(asked.kind)(**asked.arguments, meta={"number": number})
    except (ExpectationNotFoundError, ValueError, TypeError) as error:  # pydantic's error is a ValueError
        raise SuiteBroken(
            "An expectation cannot be made.",
            where=f"table {asked.table}, {asked.kind}",
            expected="a kind of the library or of data_checks/expectations.py, with its arguments and no others",
            received=f"{dict(asked.arguments)}: {error}",
            fix="correct the record of this expectation",
        ) from error


def _read(result: Any, asked: Expectation, rows: int) -> Judged:
    """Turn a result of the library into a record, and trust none that contradicts itself.

    Raises:
        SuiteBroken: an exception inside the expectation, fewer rows looked at or named than there are.
    """
    where = f"table {asked.table}, {asked.kind} {dict(asked.arguments)}"
    info = result.exception_info
    if info.get("raised_exception") is not False:
        # One exception, or one for each metric that it came from.
        several = [info] if "exception_message" in info else list(info.values())
        raise SuiteBroken(
            "An expectation ended in an exception.",
            where=where,
            expected=f"{rows} rows evaluated",
            received="; ".join(dict.fromkeys(str(one["exception_message"]) for one in several)),
            fix="judge the contract of the table first; where it is kept, correct the record of this expectation",
        )
    told = result.result
    if asked.of_table:
        return Judged(asked, rows, (), success=bool(result.success))
    failing = tuple(int(n) for part in told.get("unexpected_index_list") or () for n in part[_ROW])
    if (told.get("element_count"), told.get("unexpected_count")) != (rows, len(failing)):
        raise SuiteBroken(
            "A result of the library contradicts itself.",
            where=where,
            expected=f"{rows} rows evaluated, and as many failing as are named: {len(failing)}",
            received=f"{told.get('element_count')} evaluated, {told.get('unexpected_count')} failing",
            fix=_OTHER_VERSION,
        )
    # The library calls a column of empty values a success, whatever is asked of it.
    return Judged(asked, rows, failing, success=bool(result.success) and not failing)


# The project's own expectations


def _of_values(rule: Callable[..., np.ndarray], *arguments: str) -> str:
    """Make a rule of row_rules about the values of a column known to the library; return its name there."""

    class Metric(ColumnMapMetricProvider):
        condition_metric_name = f"column_values.{rule.__name__}"
        condition_value_keys = arguments

        @column_condition_partial(engine=PandasExecutionEngine)
        def _pandas(cls, column: pd.Series, **given: Any) -> pd.Series:  # noqa: N805
            return pd.Series(rule(column, *(given[name] for name in arguments)), column.index)

    return Metric.condition_metric_name


def _of_rows(rule: Callable[[pd.DataFrame], np.ndarray]) -> str:
    """Make a rule of row_rules about several columns known to the library; return its name there."""

    class Metric(MulticolumnMapMetricProvider):
        condition_metric_name = f"multicolumn_values.{rule.__name__}"

        @multicolumn_condition_partial(engine=PandasExecutionEngine)
        def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series:  # noqa: N805
            return pd.Series(rule(column_list), column_list.index)

    return Metric.condition_metric_name


_IN_ONE_SPLIT = _of_rows(row_rules.in_one_split)


class ExpectColumnValuesToFitTheirType(ColumnMapExpectation):
    """Expect values that can be stored as an arrow type without loss; empty ones are passed over."""

    arrow_type: str
    map_metric = _of_values(row_rules.fits_type, "arrow_type")
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "arrow_type")
    description: str | None = "Every value can be stored as the contract's type."


class ExpectColumnValuesToLieWithin(ColumnMapExpectation):
    """Expect numbers from the lowest to the highest allowed; empty values are passed over, a text is not kept.

    The library's own rule raises at a text, and walks through 32-bit integers one by one.
    """

    min_value: float | None
    max_value: float | None
    map_metric = _of_values(row_rules.within, "min_value", "max_value")
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "min_value", "max_value")
    description: str | None = "Every value is a number within its limits."


class ExpectColumnValuesToFitAPattern(ColumnMapExpectation):
    """Expect texts that a regular expression describes as a whole; the library's own rule also finds it within."""

    pattern: str
    map_metric = _of_values(row_rules.fits_pattern, "pattern")
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "pattern")
    description: str | None = "Every value fits its pattern from the first to the last character."


class ExpectGroupsToStayInOneSplit(MulticolumnMapExpectation):
    """Expect what must not be parted in one split; columns: disease, group, split."""

    map_metric = _IN_ONE_SPLIT
    description: str | None = "A group stands in one split of its disease."


class ExpectPatientsToStayInOneSplit(MulticolumnMapExpectation):
    """Expect the images of a patient in one split; columns: disease, patient, split."""

    map_metric = _IN_ONE_SPLIT
    description: str | None = "A patient stands in one split of the disease."


class ExpectUsedImagesToStandOnce(MulticolumnMapExpectation):
    """Expect one used row of an image in a disease; columns: disease, image, reason."""

    map_metric = _of_rows(row_rules.used_once)
    description: str | None = "An image is used at most once in a disease."


class ExpectUsedImagesToHaveOneLabel(MulticolumnMapExpectation):
    """Expect no used row of an image that has both labels; columns: disease, image, label, reason."""

    map_metric = _of_rows(row_rules.used_with_one_label)
    description: str | None = "No image that has both labels in a disease is used."


class ExpectUsedRowsToBeComplete(MulticolumnMapExpectation):
    """Expect all that training needs of a used row, and no split of an excluded one.

    Columns: image, label, group, split, reason.
    """

    map_metric = _of_rows(row_rules.complete)
    description: str | None = "A used row has image, label, group and split; an excluded one has no split."
