"""Suites: what is expected is what the contract says, as plain records that cost nothing to make."""

import dataclasses
import subprocess
import sys

import pytest

from data_checks.contract import TABLES
from data_checks.findings import CODES
from data_checks.suites import Expectation, SuiteBroken, contract_suite


def kinds(table: str, column: str) -> dict[str, dict]:
    """Return what is expected of the values of one column: arguments by kind."""
    return {e.kind: dict(e.arguments) for e in contract_suite(table) if e.arguments.get("column") == column}


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_the_contract_is_expected_in_its_order_and_with_its_type(table):
    suite = contract_suite(table)
    names = [column.name for column in TABLES[table]]
    assert suite[0].kind == "expect_table_columns_to_match_ordered_list"
    assert suite[0].arguments["column_list"] == names
    typed = [e.arguments for e in suite if e.kind == "expect_column_values_to_fit_their_type"]
    assert [(a["column"], a["arrow_type"]) for a in typed] == [(c.name, str(c.type)) for c in TABLES[table]]


@pytest.mark.parametrize(("table", "column"), [(t, c) for t in TABLES for c in TABLES[t]])
def test_what_the_contract_says_of_a_column_is_expected_and_nothing_else(table, column):
    expected = {"expect_column_values_to_fit_their_type"}
    expected |= set() if column.nullable else {"expect_column_values_to_not_be_null"}
    expected |= {"expect_column_values_to_be_unique"} if column.unique else set()
    if column.low is not None or column.high is not None:
        expected.add("expect_column_values_to_lie_within")
        limits = kinds(table, column.name)["expect_column_values_to_lie_within"]
        assert (limits["min_value"], limits["max_value"]) == (column.low, column.high)
    if column.values:
        expected.add("expect_column_values_to_be_in_set")
        assert kinds(table, column.name)["expect_column_values_to_be_in_set"]["value_set"] == list(
            column.values
        )
    if column.pattern:
        expected.add("expect_column_values_to_fit_a_pattern")
        assert kinds(table, column.name)["expect_column_values_to_fit_a_pattern"]["pattern"] == column.pattern
    assert set(kinds(table, column.name)) == expected


@pytest.mark.parametrize("table", TABLES)
def test_what_is_expected_names_its_table_its_columns_and_a_known_code(table):
    names = {column.name for column in TABLES[table]}
    for expectation in contract_suite(table):
        assert expectation.table == table
        assert expectation.code == "contract_broken"
        assert expectation.code in CODES
        assert expectation.severity == "fail"
        read = [expectation.arguments.get("column"), *expectation.arguments.get("column_list", [])]
        assert {name for name in read if name} <= names


def test_a_manifest_has_rules_between_its_rows_and_the_facts_have_none():
    rules = {e.kind for e in contract_suite("manifest")} - {e.kind for e in contract_suite("facts")}
    assert {
        "expect_groups_to_stay_in_one_split",
        "expect_patients_to_stay_in_one_split",
        "expect_used_images_to_stand_once",
        "expect_used_images_to_have_one_label",
        "expect_used_rows_to_be_complete",
    } <= rules


def test_a_table_that_the_contract_does_not_have_has_no_suite():
    with pytest.raises(KeyError):
        contract_suite("pixels")


def test_an_expectation_cannot_be_changed():
    expectation = Expectation("contract_broken", "facts", "expect_x", {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        expectation.code = "blank_images"  # type: ignore[misc]


def test_a_broken_suite_says_what_where_expected_received_and_what_to_do():
    error = SuiteBroken("It broke.", where="table facts", expected=3, received=2, fix="ask all three")
    assert str(error).splitlines() == [
        "It broke.",
        "  where:    table facts",
        "  expected: 3",
        "  received: 2",
        "  fix:      ask all three",
    ]


def test_suites_are_made_without_the_library_that_evaluates_them():
    code = "import sys, data_checks.suites as s; s.contract_suite('facts'); print('great_expectations' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
