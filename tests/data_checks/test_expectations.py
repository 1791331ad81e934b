"""Great Expectations behind its door: exactly the broken rows are named, and nothing passes without being looked at."""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_checks import expectations
from data_checks.contract import TABLES, schema
from data_checks.expectations import judge
from data_checks.suites import Expectation, SuiteBroken, contract_suite

ROOT = Path(__file__).parents[2]

#: A value that each type of the contract takes, as n different ones.
EXAMPLES = {
    "string": lambda n: [f"text {i}" for i in range(n)],
    "bool": lambda n: [i % 2 == 0 for i in range(n)],
    "double": lambda n: [1 / (i + 1) for i in range(n)],
    "int8": lambda n: [i % 2 for i in range(n)],
    "int32": lambda n: list(range(1, n + 1)),
    "int64": lambda n: list(range(1, n + 1)),
    "fixed_size_binary[8]": lambda n: [i.to_bytes(8, "big") for i in range(n)],
    "fixed_size_binary[32]": lambda n: [i.to_bytes(32, "big") for i in range(n)],
    "fixed_size_binary[64]": lambda n: [i.to_bytes(64, "big") for i in range(n)],
}
TEXTS = {"[0-9a-f]{64}": "{:064x}", "[0-9a-f]{16}": "{:016x}", "[a-z][a-z0-9_]*": "key_{}"}
#: A value that no column of the type takes.
WRONG = {"string": 7, "bool": "yes", "double": "high", "int8": 0.5, "int32": "7", "int64": 2**63}


def example(table: str, n: int = 4) -> pa.Table:
    """Return n rows that keep the contract; columns that may be empty are so in the last row."""
    values = {}
    for column in TABLES[table]:
        made = EXAMPLES[str(column.type)](n)
        if column.values:
            made = [column.values[i % len(column.values)] for i in range(n)]
        if column.pattern:
            made = [TEXTS[column.pattern].format(i) for i in range(n)]
        if column.low == 1 and column.high is None:
            made = [1.0 + i for i in range(n)]
        if column.nullable and n:
            made[-1] = None
        values[column.name] = made
    if table == "manifest" and n:
        values["reason"] = [None] * (n - 1) + ["duplicate"]
    return pa.table(values, schema=schema(TABLES[table]))


def frame(table: str, n: int = 4, **changed: list) -> pd.DataFrame:
    """Return rows that keep the contract but for what is changed, with room for values of any type."""
    rows = example(table, n).to_pandas()
    for name, values in changed.items():
        rows[name] = pd.Series(values, dtype=object)
    return rows


def failing(table: str, rows: pd.DataFrame) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the rows that do not keep the contract, by kind and column, where there are any."""
    judged = judge({table: rows}, contract_suite(table))
    return {
        (j.expectation.kind, j.expectation.arguments.get("column", "")): j.failing
        for j in judged
        if not j.success
    }


# The contract


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("large", [False, True])
def test_a_table_of_the_contract_passes_after_its_way_through_a_file(table, large, tmp_path):
    made = example(table)
    if large:
        fields = [f.with_type(pa.large_string()) if f.type == pa.string() else f for f in made.schema]
        made = made.cast(pa.schema(fields))
    pq.write_table(made, tmp_path / "t.parquet")
    rows = pq.read_table(tmp_path / "t.parquet").to_pandas()
    judged = judge({table: rows}, contract_suite(table))
    assert [j.expectation for j in judged if not j.success] == []
    assert {j.evaluated for j in judged} == {4}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_without_rows_is_evaluated_and_passes(table):
    judged = judge({table: example(table, 0).to_pandas()}, contract_suite(table))
    assert len(judged) == len(contract_suite(table))
    assert all(j.success and j.evaluated == 0 and j.failing == () for j in judged)


def test_columns_as_they_stand_in_memory_pass_like_those_from_a_file():
    rows = frame("manifest", split=["train", "test", "train", None], patient=[None] * 4)
    rows["label"] = rows["label"].astype("Int8")
    assert failing("manifest", rows) == {}


BROKEN = [
    *[
        (t, c, "expect_column_values_to_not_be_null", None)
        for t in TABLES
        for c in TABLES[t]
        if not c.nullable
    ],
    *[
        (t, c, "expect_column_values_to_lie_within", c.low - 1)
        for t in TABLES
        for c in TABLES[t]
        if c.low is not None
    ],
    *[(t, c, "expect_column_values_to_lie_within", c.high + 1) for t in TABLES for c in TABLES[t] if c.high],
    *[(t, c, "expect_column_values_to_be_in_set", "else") for t in TABLES for c in TABLES[t] if c.values],
    *[(t, c, "expect_column_values_to_fit_a_pattern", "9\n") for t in TABLES for c in TABLES[t] if c.pattern],
    *[
        (t, c, "expect_column_values_to_fit_their_type", WRONG.get(str(c.type), b"short"))
        for t in TABLES
        for c in TABLES[t]
    ],
]


@pytest.mark.parametrize(("table", "column", "kind", "value"), BROKEN)
def test_exactly_the_row_is_named_whose_value_breaks_the_contract(table, column, kind, value):
    rows = frame(table)
    values = list(rows[column.name])
    values[1] = value
    rows[column.name] = pd.Series(values, dtype=object)
    asked = [e for e in contract_suite(table) if (e.kind, e.arguments.get("column")) == (kind, column.name)]
    [judged] = judge({table: rows}, asked)
    assert (judged.success, judged.failing, judged.evaluated) == (False, (1,), 4)


def test_every_row_of_a_value_that_stands_twice_is_named():
    rows = frame("facts", 5, path=["a", "b", "a", "c", "b"])
    assert failing("facts", rows) == {("expect_column_values_to_be_unique", "path"): (0, 1, 2, 4)}


@pytest.mark.parametrize("table", ["manifest", "evidence", "folders", "classes", "counts", "audit"])
def test_a_row_that_stands_twice_is_named_where_several_columns_name_it(table):
    rows = frame(table)
    twice = pd.concat([rows, rows.iloc[[1]]])
    assert failing(table, twice)["expect_compound_columns_to_be_unique", ""] == (1, 4)


def test_columns_in_another_order_are_a_fault_of_the_table_and_of_no_row():
    rows = frame("counts")
    swapped = rows[[*rows.columns[1:], rows.columns[0]]]
    assert failing("counts", swapped) == {("expect_table_columns_to_match_ordered_list", ""): ()}


def test_a_column_that_the_contract_does_not_know_is_a_fault_of_the_table():
    assert failing("counts", frame("counts").assign(more=1)) == {
        ("expect_table_columns_to_match_ordered_list", ""): ()
    }


def test_what_reads_a_column_that_is_not_there_is_not_kept_and_all_else_is_evaluated():
    judged = judge({"counts": frame("counts").drop(columns="images")}, contract_suite("counts"))
    lost = [j for j in judged if not j.success]
    assert {(j.expectation.kind, j.expectation.arguments.get("column")) for j in lost} == {
        ("expect_table_columns_to_match_ordered_list", None),
        ("expect_column_values_to_fit_their_type", "images"),
        ("expect_column_values_to_not_be_null", "images"),
        ("expect_column_values_to_lie_within", "images"),
    }
    assert {j.evaluated for j in lost if "column" in j.expectation.arguments} == {0}
    assert {j.evaluated for j in judged if j.success} == {4}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_in_which_everything_is_a_text_is_judged_without_an_exception(table):
    rows = example(table).to_pandas()
    judged = judge({table: pd.DataFrame({name: ["?"] * 4 for name in rows})}, contract_suite(table))
    wrong = {
        j.expectation.arguments["column"]
        for j in judged
        if "arrow_type" in j.expectation.arguments and j.failing
    }
    assert wrong == {c.name for c in TABLES[table] if c.type != pa.string()}
    assert {j.failing for j in judged if j.expectation.arguments.get("arrow_type") == "double"} <= {
        (0, 1, 2, 3)
    }


def test_the_position_of_a_row_has_nothing_to_do_with_the_index_of_the_frame():
    rows = frame("facts", 5, path=["a", "b", "c", "d", None])
    rows.index = pd.Index([7, 7, float("nan"), 3, 7], name="path")
    assert failing("facts", rows) == {("expect_column_values_to_not_be_null", "path"): (4,)}
    assert list(rows.index[:2]) == [7, 7]


# Rules over the values of any column


def test_rules_over_evidence_name_rows_of_the_whole_table_and_pass_over_what_is_excluded_or_empty():
    rows = frame(
        "evidence",
        5,
        reason=["duplicate", None, None, "corrupt", None],
        contrast=[0.0, 5.0, 0.5, None, None],
        turned=[True, True, False, False, True],
        format=["PNG", "JPEG", "JPEG", None, "PNG"],
        named_format=["JPEG", "JPEG", "PNG", "PNG", None],
    )
    same = {"column_A": "format", "column_B": "named_format", "ignore_row_if": "either_value_is_missing"}
    inside = {"column": "contrast", "min_value": 2.0}
    asked = [
        Expectation(
            "blank_images", "evidence", "expect_column_values_to_lie_within", inside, "warn", only_used=True
        ),
        Expectation("blank_images", "evidence", "expect_column_values_to_lie_within", inside, "warn"),
        Expectation(
            "turned_copies",
            "evidence",
            "expect_column_values_to_be_in_set",
            {"column": "turned", "value_set": [False]},
            "note",
            only_used=True,
        ),
        Expectation("ending_differs", "evidence", "expect_column_pair_values_to_be_equal", same, "note"),
        Expectation(
            "ending_differs", "evidence", "expect_column_pair_values_to_be_equal", same, only_used=True
        ),
    ]
    judged = judge({"evidence": rows}, asked)
    assert [j.expectation for j in judged] == asked
    assert [j.failing for j in judged] == [(2,), (0, 2), (1, 4), (0, 2), (2,)]
    assert [j.evaluated for j in judged] == [3, 5, 3, 5, 3]


def test_a_column_of_empty_values_keeps_every_rule_but_the_one_that_forbids_them():
    asked = [
        Expectation("tiny_images", "evidence", kind, {"column": "x", **arguments})
        for kind, arguments in [
            ("expect_column_values_to_lie_within", {"min_value": 1}),
            ("expect_column_values_to_be_in_set", {"value_set": [1]}),
            ("expect_column_values_to_not_be_null", {}),
        ]
    ]
    judged = judge({"evidence": pd.DataFrame({"x": [None, None]})}, asked)
    assert [j.failing for j in judged] == [(), (), (0, 1)]


def test_the_same_expectation_may_be_asked_twice():
    twice = [
        Expectation(
            "tiny_images",
            "counts",
            "expect_column_values_to_lie_within",
            {"column": "images", "max_value": 2},
        )
    ] * 2
    assert [j.failing for j in judge({"counts": frame("counts")}, twice)] == [(2, 3)] * 2


# What cannot be evaluated is never a success

WITHIN = Expectation(
    "tiny_images", "facts", "expect_column_values_to_lie_within", {"column": "width", "min_value": 1}
)


def broken(expectation: Expectation) -> str:
    with pytest.raises(SuiteBroken) as caught:
        judge({"facts": frame("facts")}, [WITHIN, expectation])
    return str(caught.value)


@pytest.mark.parametrize(
    ("tables", "asked", "where"),
    [
        ({}, [], "no table"),
        ({"facts": frame("facts")}, [], "facts"),
        ({"facts": frame("facts"), "counts": frame("counts")}, [WITHIN], "counts"),
        ({}, [WITHIN], "facts"),
    ],
)
def test_a_table_without_an_expectation_and_an_expectation_without_its_table_are_refused(
    tables, asked, where
):
    with pytest.raises(SuiteBroken, match="would pass without being looked at") as caught:
        judge(tables, asked)
    assert f"  where:    {where}\n" in str(caught.value)
    assert f"  received: {len(asked)} expectations" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("expect_column_values_to_be_nice", {"column": "width"}, "expect_column_values_to_be_nice not found"),
        ("expect_column_values_to_lie_within", {"column": "width", "minimum": 1}, "minimum"),
        ("expect_column_values_to_fit_a_pattern", {"column": "path"}, "pattern"),
        ("expect_column_values_to_lie_within", {"min_value": 1}, "column"),
    ],
)
def test_an_expectation_that_cannot_be_made_is_refused(kind, arguments, said):
    text = broken(Expectation("tiny_images", "facts", kind, arguments))
    assert text.startswith("An expectation cannot be made.\n")
    assert f"  where:    table facts, {kind}\n" in text
    assert said in text
    assert "  fix:      correct the record" in text


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        (
            "expect_column_values_to_fit_a_pattern",
            {"column": "path", "pattern": "("},
            "unterminated subpattern",
        ),
        (
            "expect_column_values_to_fit_their_type",
            {"column": "path", "arrow_type": "date"},
            "a type of the contract",
        ),
        ("expect_column_values_to_be_between", {"column": "path", "min_value": 1}, "same type"),
    ],
)
def test_an_exception_inside_an_expectation_is_not_taken_for_an_answer(kind, arguments, said):
    text = broken(Expectation("tiny_images", "facts", kind, arguments))
    assert text.startswith("An expectation ended in an exception.\n")
    assert f"  where:    table facts, {kind}" in text
    assert "  expected: 4 rows evaluated\n" in text
    assert said in text
    assert "  fix:      judge the contract of the table first" in text


def result(number: int, **told) -> SimpleNamespace:
    """Return a result in the library's form: row 0 of 4 fails."""
    return SimpleNamespace(
        expectation_config=SimpleNamespace(meta={"number": number}),
        exception_info={"raised_exception": False},
        success=False,
        result={"element_count": 4, "unexpected_count": 1, "unexpected_index_list": [{"row": [0]}]} | told,
    )


@pytest.mark.parametrize(
    "results", [[], [result(0)], [result(0), result(0)], [result(0), result(1), result(1)]]
)
def test_the_number_of_evaluated_expectations_is_the_number_of_asked_ones(results):
    with pytest.raises(SuiteBroken, match="did not evaluate every expectation") as caught:
        expectations._read_all(results, {0: WITHIN, 1: WITHIN}, "facts", rows=4)
    assert "  expected: 2 results\n" in str(caught.value)
    assert f"  received: {len(results)} results" in str(caught.value)


@pytest.mark.parametrize(
    "told",
    [
        {"element_count": 3},
        {"unexpected_count": 2},
        {"unexpected_index_list": []},
        {"unexpected_count": None},
    ],
)
def test_a_result_that_contradicts_itself_is_refused(told):
    whole = expectations._read_all([result(0)], {0: WITHIN}, "facts", rows=4)
    assert whole[0].failing == (0,)
    with pytest.raises(SuiteBroken, match="contradicts itself") as caught:
        expectations._read_all([result(0, **told)], {0: WITHIN}, "facts", rows=4)
    assert "requirements.lock" in str(caught.value)


# The door


def test_one_file_imports_the_library():
    folders = ("flows", "tasks", "data_checks", "deployments")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    importing = [p for p in files if re.search(r"^\s*(import|from) great_expectations", p.read_text(), re.M)]
    assert [path.name for path in importing] == ["expectations.py"]


def test_every_expectation_of_the_project_says_what_it_expects():
    made = [
        kind
        for kind in vars(expectations).values()
        if isinstance(kind, type)
        and kind.__module__ == expectations.__name__
        and kind.__name__.startswith("Expect")
    ]
    assert len(made) == 8
    for kind in made:
        assert issubclass(kind, (expectations.ColumnMapExpectation, expectations.MulticolumnMapExpectation))
        assert kind.__fields__["description"].default.endswith(".")


def test_several_threads_may_judge_at_once():
    rows = [frame("counts", images=[-1 if i == n else 1 for i in range(4)]) for n in range(4)]
    asked = contract_suite("counts")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: judge({"counts": rows[n]}, asked), list(range(4)) * 4))
    for n, judged in zip(list(range(4)) * 4, found, strict=True):
        assert [j.failing for j in judged if not j.success] == [(n,)]


def test_judging_prints_nothing_writes_nothing_and_reaches_for_no_network(tmp_path):
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
def forbid(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.sendto")):
        os._exit(3)
    writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if (writing and arguments[0] != os.devnull) or event in ("os.mkdir", "os.rename", "os.remove"):
        os._exit(4)
sys.addaudithook(forbid)
import pandas as pd
from data_checks.expectations import judge, load_ahead
from data_checks.suites import Expectation, SuiteBroken
load_ahead()
asked = Expectation("tiny_images", "x", "expect_column_values_to_lie_within", {{"column": "a", "min_value": 2}})
[judged] = judge({{"x": pd.DataFrame({{"a": [1, 2, 3]}})}}, [asked])
try:
    judge({{"x": pd.DataFrame({{"a": ["b"]}})}}, [Expectation("x", "x", "expect_column_values_to_be_between", {{"column": "a", "min_value": 2}})])
except SuiteBroken:
    sys.exit(0 if judged.failing == (0,) and os.environ["GX_ANALYTICS_ENABLED"] == "false" else 5)
"""
    home = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "default::UserWarning", "-c", code],
        cwd=tmp_path,
        env=home,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_twenty_thousand_rows_are_judged_within_seconds_even_where_all_of_them_fail():
    n = 20_000
    facts = (
        example("facts", n).to_pandas().assign(mean=-1.0, contrast=-1.0, width=-1, sha256="no", format="no")
    )
    rows = {
        "facts": facts,
        "manifest": example("manifest", n).to_pandas().assign(group="a" * 16, reason=None),
    }
    asked = [*contract_suite("facts"), *contract_suite("manifest")]
    start = time.thread_time()
    judged = judge(rows, asked)
    assert time.thread_time() - start < 6
    assert sum(len(j.failing) == n for j in judged) >= 5
    assert len(judged) == len(asked)
