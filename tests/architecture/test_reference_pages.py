"""The page of tables is the contract's, and the command that says so can say no."""

from pathlib import Path

import pyarrow as pa
import pytest

from data_checks.contract import SPLITS, Column
from data_checks.reasons import EXCLUDED, UNREACHABLE, UNREADABLE
from tests.architecture import reference_pages
from tests.architecture.reference_pages import PAGE, allowed, columns_table, main, renewed


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A copy of the page."""
    copy = tmp_path / "tables.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    return copy


def test_the_page_has_the_columns_of_the_contract(page, capsys):
    assert main([], page) == 0, capsys.readouterr().err


def test_a_page_that_differs_is_refused_and_renewed_and_keeps_its_own_text(page, capsys):
    written = page.read_text(encoding="utf-8")
    page.write_text(
        written.replace("| `path` | string | no |", "| `place` | string | yes |", 1), encoding="utf-8"
    )
    assert main([], page) == 1
    said = capsys.readouterr().err
    assert "tables.md does not have the columns of the contract" in said
    assert "python -m tests.architecture.reference_pages --write" in said
    assert "`place`" in page.read_text(encoding="utf-8")
    assert main(["--write"], page) == 0
    assert page.read_text(encoding="utf-8") == written


@pytest.mark.parametrize("lost", [reference_pages.begin("counts"), "<!-- end of columns -->"])
def test_a_page_without_a_place_for_a_table_is_refused_with_the_lines_that_are_missing(page, lost):
    with pytest.raises(ValueError, match="one place for the columns of each table") as caught:
        renewed(page.read_text(encoding="utf-8").replace(lost, "", 1))
    for part in (
        "expected: one each of facts, manifest",
        "received: facts",
        "fix:",
        "<!-- columns of TABLE:",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ({}, "any"),
        ({"low": 0}, "0 and more"),
        ({"high": 127.5}, "127.5 and less"),
        ({"low": -1, "high": 1}, "-1 to 1"),
        ({"values": SPLITS}, "`train`, `validation`, `test`"),
        ({"pattern": "[a-z]+", "unique": True}, "`[a-z]+`; no value twice"),
        (
            {"values": (*UNREACHABLE, *UNREADABLE)},
            "a reason of the [checks](checks.md): unreachable, unreadable",
        ),
        ({"values": tuple(EXCLUDED)}, "a reason of the [checks](checks.md): excluded"),
    ],
)
def test_what_a_column_may_hold_is_said_in_words(rest, said):
    assert allowed(Column("x", pa.string(), True, "meaning", **rest)) == said


def test_a_bar_does_not_end_a_cell():
    made = columns_table((Column("x", pa.int8(), False, "this | that", pattern="a|b"),))
    assert made.splitlines()[-1] == "| `x` | int8 | no | `a\\|b` | this \\| that |"
