"""From measurements to findings: every table against its contract and the rules, all by Great Expectations.

In: the contract's tables, all diseases in each. Out: the findings of every disease and how many expectations were evaluated.
The only place where a failing row becomes a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from data_checks.expectations import judge
from data_checks.findings import Finding, tidy
from data_checks.rules import Rule, rules
from data_checks.suites import Judged, contract_suite

#: A finding names at most so many files and digests; its counts are those of all.
NAMED = 1000


@dataclass(frozen=True, slots=True)
class Judgement:
    """What all tables came to: findings by disease, and the number of expectations that were evaluated."""

    findings: Mapping[str, tuple[Finding, ...]]
    evaluated: int


def judge_tables(
    tables: Mapping[str, pd.DataFrame], diseases: Sequence[str], limits: Mapping[str, Mapping[str, Any]]
) -> Judgement:
    """Judge all tables.

    Args:
        tables: by the names of contract.TABLES; each with all diseases. The small tables have a column `disease`.
        diseases: keys of the catalog that are judged.
        limits: `rules.read_limits()`.

    Raises:
        SuiteBroken: Great Expectations evaluated fewer expectations than it was asked to.
    """
    contract = [one for name in tables for one in contract_suite(name)]
    known = [rule for rule in rules(limits) if rule.expectation.table in tables]
    judged = judge(tables, [*contract, *(rule.expectation for rule in known)])
    found: dict[str, list[Finding]] = {disease: [] for disease in diseases}
    for result in judged[: len(contract)]:
        if not result.success:
            for finding in _broken(tables, result, diseases):
                found[finding.disease].append(finding)
    for rule, result in zip(known, judged[len(contract) :], strict=True):
        for finding in _findings(rule, result, tables[rule.expectation.table]):
            found[finding.disease].append(finding)
    return Judgement({disease: tidy(said) for disease, said in found.items()}, len(judged))


def _findings(rule: Rule, result: Judged, table: pd.DataFrame) -> list[Finding]:
    """Return one finding for every disease that has failing rows."""
    if not result.failing:
        return []
    looked = table[table["reason"].isna()] if rule.expectation.only_used else table
    failing = table.iloc[list(result.failing)]
    found = []
    for disease, bad in failing.groupby("disease", sort=False):
        every = looked[looked["disease"] == disease]
        found.append(
            Finding(
                str(disease),
                rule.expectation.code,
                rule.expectation.severity,
                rule.say(bad, every),
                rule.fix(bad, every),
                detail=rule.detail(bad, every),
                count=len(bad),
                total=len(every),
                places=tuple(bad["path"].head(NAMED)) if "path" in bad else (),
                images=tuple(bad["image"].dropna().unique()[:NAMED]) if "image" in bad else (),
            )
        )
    return found


def _broken(tables: Mapping[str, pd.DataFrame], result: Judged, diseases: Sequence[str]) -> list[Finding]:
    """Return what to say of a table that does not keep its contract: of its diseases, or of all."""
    said = result.expectation
    bad = tables[said.table].iloc[list(result.failing)]
    owners = bad if "disease" in bad else tables["manifest"][tables["manifest"]["path"].isin(bad["path"])]
    named = list(dict.fromkeys(owners["disease"])) if len(bad) else list(diseases)
    about = ", ".join(f"{key} {value}" for key, value in said.arguments.items())
    return [
        Finding(
            disease,
            said.code,
            "fail",
            f"the table '{said.table}' breaks its contract in {len(bad)} of {result.evaluated} rows: {said.kind} ({about}).",
            "remove the folder facts of the home folder, so that all files are measured anew; if it stays, it is a fault of radtrain",
            count=len(bad),
            total=result.evaluated,
            places=tuple(bad["path"].head(NAMED)) if "path" in bad else (),
        )
        for disease in named
        if disease in diseases
    ]
