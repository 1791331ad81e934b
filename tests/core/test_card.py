"""The card beside a model says what it is, how well it is known, and what it is not for."""

from __future__ import annotations

from math import nan

from data_checks.findings import Finding
from data_checks.report import Audited, Verdict
from tasks.core.card import interval, write_card
from tasks.core.catalog import load_catalog
from tasks.core.metrics import Estimate
from tasks.core.operating_point import OperatingPoint
from tasks.core.plan import Plan

PLAN = Plan(
    disease="pneumonia",
    title="Pneumonia on chest radiographs",
    profile="fast",
    figures=load_catalog().profile("fast"),
    wanted_sensitivity=0.95,
    seed=3,
    manifest_digest="a" * 64,
    weights_digest="b" * 64,
    features="c" * 16,
    n_train=300,
    n_validation=60,
    n_test=90,
    versions={"python": "3.11"},
)


def test_a_figure_is_shown_with_its_interval_or_the_lack_of_it():
    assert interval(Estimate(0.9123, 0.871, 0.949, 90)) == "0.912 (0.87-0.95)"
    assert interval(Estimate(0.9123, None, None, 90)) == "0.912 (unknown)"
    assert interval(Estimate(nan, None, None, 0)) == "undefined"


def test_the_card_says_what_it_is_not_for_and_what_the_checks_found():
    point = OperatingPoint(0.41, 0.95, 0.96, 0.7, 60, 30)
    findings = (Finding("pneumonia", "shipped_split_leaks", "warn", "7 of 100 test images leak.", "nothing"),)
    probes = (Audited("file_size", 0.851, 0.78, 0.9, 405), Audited("mode", 0.5, None, None, 405))
    verdict = Verdict("pneumonia", "Pneumonia", findings=findings, audit=probes)
    card = write_card(PLAN, {"auroc": Estimate(0.97, 0.93, 0.99, 90)}, point, verdict)
    assert "**Not for diagnosis.**" in card
    assert "| auroc | 0.970 (0.93-0.99) | 90 |" in card
    assert "positive from 0.4100 on. The threshold was fixed on 60 validation images" in card
    assert "- `shipped_split_leaks` (warn): 7 of 100 test images leak." in card
    assert "| file_size | 0.85 (0.78-0.90) | 405 |" in card
    assert "| mode | 0.50 (unknown) | 405 |" in card


def test_a_plan_comes_back_from_json_as_it_was_and_its_digest_follows_every_figure():
    again = Plan.from_json(PLAN.to_json())
    assert again == PLAN
    assert again.digest() == PLAN.digest()
    changed = {**PLAN.to_json(), "seed": 4}
    assert Plan.from_json(changed).digest() != PLAN.digest()
