"""The rules: each has a case that breaks it and one that keeps it, its text has counts and no names, and its remedy is there.

Judged by Great Expectations, as in a run.
"""

import re
import tomllib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from data_checks.contract import PROBES, SPLITS, TABLES, schema
from data_checks.findings import CODES, Finding, tidy
from data_checks.judgement import NAMED, judge_tables
from data_checks.report import Verdict
from data_checks.rules import LIMITS, read_limits, rules

LIMIT = read_limits()


def digest(number):
    return f"{number:064x}"


def evidence(n=10, disease="d", **changes):
    """Sound rows of evidence; `changes` name a column and its values, from the first row on."""
    rows = [
        {
            "disease": disease, "path": f"S/secret{number}.png", "image": digest(number), "label": number % 2,
            "split": SPLITS[number % 3], "reason": None, "shipped_split": None, "format": "PNG",
            "named_format": "PNG", "shortest": 200, "aspect": 1.2, "contrast": 50.0, "black": 0.1, "white": 0.0,
            "polarity": 0.8, "contradicted": False, "turned": False, "copied": False, "named_copy": False,
            "elsewhere": False,
        }
        for number in range(n)
    ]  # fmt: skip
    for column, values in changes.items():
        for row, value in zip(rows, values, strict=False):
            row[column] = value
            if column == "reason":
                row["split"] = None
    return typed("evidence", rows)


def typed(name, rows):
    return pa.Table.from_pylist(rows, schema(TABLES[name])).to_pandas()


def counts(disease="d", **changes):
    return typed("counts", [
        {"disease": disease, "split": split, "label": label, "groups": 30,
         "images": changes.get(f"{split}_{label}", 30)}
        for split in SPLITS for label in (0, 1)
    ])  # fmt: skip


def shipped(**changes):
    sound = {"disease": "d", "refused": False, "test_images": 40, "leaking": 0, "identical": 0, "patients": 0,
             "unmatched": False, "missed": 0, "unknown": False}  # fmt: skip
    return typed("shipped", [{**sound, **changes}])


def classes(negative=60, positive=60):
    total = negative + positive
    return typed("classes", [
        {"disease": "d", "label": label, "images": n, "share": n / total if total else None}
        for label, n in enumerate((negative, positive))
    ])  # fmt: skip


def folders(*readable):
    return typed("folders", [
        {"disease": "d", "folder": f"S/{number}", "files": 9, "readable": n} for number, n in enumerate(readable)
    ])  # fmt: skip


def audit(**lows):
    return typed("audit", [
        {"disease": "d", "probe": probe, "auroc": min(1.0, lows.get(probe, 0.4) + 0.05),
         "low": lows.get(probe, 0.4), "high": 0.99, "n": 400,
         "bare" if probe != "thumbnail" else "coarse": lows.get(probe, 0.4)}
        for probe in PROBES
    ])  # fmt: skip


def changes(**said):
    sound = {"disease": "d", "before": 100, "added": 0, "removed": 0, "relabelled": 0, "changed": 0, "shift": 0.0,
             "moved": 0.0}  # fmt: skip
    return typed("changes", [{**sound, **said}])


def found(diseases=("d",), **tables):
    judged = judge_tables(tables, diseases, LIMIT)
    return [finding for disease in diseases for finding in judged.findings[disease]]


def only(**tables) -> Finding:
    (finding,) = found(**tables)
    return finding


def test_sound_tables_give_no_finding_and_every_expectation_is_evaluated():
    judged = judge_tables(
        {"evidence": evidence(), "counts": counts(), "shipped": shipped(), "classes": classes(),
         "folders": folders(3, 4), "audit": audit(), "changes": changes()},
        ["d"], LIMIT,
    )  # fmt: skip
    assert judged.findings == {"d": ()}
    assert judged.evaluated > 60 + len(rules(LIMIT))


BREAKING = {
    "sidecar_files": ("note", {"evidence": evidence(reason=["sidecar", "sidecar"])}),
    "unreadable_images": ("warn", {"evidence": evidence(reason=["truncated", "empty_file", "truncated"])}),
    "ending_differs": ("note", {"evidence": evidence(format=["GIF"], named_format=["JPEG"])}),
    "tiny_images": ("warn", {"evidence": evidence(shortest=[LIMIT["images"]["tiny_below"] - 1])}),
    "extreme_aspect": ("warn", {"evidence": evidence(aspect=[LIMIT["images"]["aspect_above"] + 0.1])}),
    "blank_images": ("warn", {"evidence": evidence(contrast=[0.0])}),
    "saturated_images": ("warn", {"evidence": evidence(white=[0.99])}),
    "inverted_polarity": ("warn", {"evidence": evidence(polarity=[-0.95])}),
    "duplicates": ("note", {"evidence": evidence(image=[digest(7)], reason=["duplicate"])}),
    "contradictory_labels": ("warn", {"evidence": evidence(reason=["contradictory_label"] * 2, image=[digest(0)] * 2)}),
    "contradictory_copies": ("warn", {"evidence": evidence(contradicted=[True, True])}),
    "near_duplicates": ("note", {"evidence": evidence(copied=[True, True])}),
    "turned_copies": ("note", {"evidence": evidence(turned=[True, True])}),
    "named_copies": ("note", {"evidence": evidence(named_copy=[True])}),
    "shared_between_diseases": ("note", {"evidence": evidence(elsewhere=[True])}),
    "class_empty": ("fail", {"folders": folders(0, 5)}),
    "one_class_only": ("fail", {"classes": classes(60, 0)}),
    "imbalanced": ("warn", {"classes": classes(95, 5)}),
    "split_class_empty": ("fail", {"counts": counts(test_1=1)}),
    "split_class_small": ("warn", {"counts": counts(validation_0=LIMIT["classes"]["warn_below"] - 1)}),
    "shipped_split_leaks": ("warn", {"shipped": shipped(leaking=18, identical=7)}),
    "patient_in_several_splits": ("warn", {"shipped": shipped(patients=4)}),
    "shipped_split_refused": ("warn", {"shipped": shipped(refused=True)}),
    "patient_unmatched": ("warn", {"shipped": shipped(unmatched=True)}),
    "patient_missed": ("warn", {"shipped": shipped(missed=3)}),
    "patient_unknown": ("note", {"shipped": shipped(unknown=True)}),
    "shortcut": ("warn", {"audit": audit(file_size=0.71, border=0.65)}),
    "coarse_shortcut": ("warn", {"audit": audit(thumbnail=0.85)}),
    "labels_changed": ("warn", {"changes": changes(relabelled=3)}),
    "data_changed": ("note", {"changes": changes(added=5, removed=2, changed=7)}),
    "distribution_moved": ("warn", {"changes": changes(shift=0.4, moved=0.4)}),
}  # fmt: skip


@pytest.mark.parametrize("code", BREAKING)
def test_a_fault_is_found_with_its_severity_its_count_and_its_remedy(code):
    severity, tables = BREAKING[code]
    said = {finding.code: finding for finding in found(**tables)}
    assert code in said
    finding = said[code]
    assert finding.severity == severity
    assert finding.count >= 1
    assert finding.total >= finding.count
    assert finding.fix
    assert re.search(r"\d", finding.text) or code in (
        "shipped_split_refused",
        "patient_unmatched",
        "patient_unknown",
        "one_class_only",
    )


@pytest.mark.parametrize("code", BREAKING)
def test_what_is_tracked_of_a_finding_names_no_file_and_no_folder(code):
    for finding in found(**BREAKING[code][1]):
        assert "secret" not in str(finding.tracked())
        assert "S/" not in str(finding.tracked())


def test_every_rule_has_a_case_that_breaks_it():
    assert [rule.expectation.code for rule in rules(LIMIT)] == list(BREAKING)
    assert set(BREAKING) <= set(CODES)


def test_every_limit_is_used_by_a_rule():
    written = LIMITS.read_text(encoding="utf-8")
    for table, said in tomllib.loads(written).items():
        for name, value in said.items():
            moved = {**LIMIT, table: {**LIMIT[table], name: value + 0.125}}
            assert repr([rule.expectation for rule in rules(moved)]) != repr(
                [rule.expectation for rule in rules(LIMIT)]
            )


def test_the_text_of_unreadable_files_counts_them_by_reason_and_leaves_sidecars_out():
    tables = {"evidence": evidence(reason=["truncated", "corrupt", "truncated", "sidecar"])}
    said = {finding.code: finding for finding in found(**tables)}
    assert said["unreadable_images"].text == "3 of 9 files cannot be used: corrupt 1, truncated 2."
    assert said["unreadable_images"].places == ("S/secret0.png", "S/secret1.png", "S/secret2.png")
    assert "copy or download it again" in said["unreadable_images"].fix
    assert said["sidecar_files"].count == 1


def test_an_excluded_image_is_not_judged_as_a_radiograph():
    assert [
        f.code for f in found(evidence=evidence(reason=["duplicate"], image=[digest(1)], shortest=[3]))
    ] == ["duplicates"]


def test_what_cannot_be_known_is_no_fault():
    unknown = evidence(format=["PNG"], named_format=[None], polarity=[None], aspect=[None], shortest=[None])
    assert found(evidence=unknown) == []


def test_a_folder_of_samples_is_named_with_the_folder_that_it_copies():
    rows = evidence(6, path=["S/sample/a.png", "S/sample/b.png", "S/set/a.png", "S/set/b.png"],
                    image=[digest(1), digest(2), digest(1), digest(2)], reason=["duplicate"] * 2)  # fmt: skip
    finding = only(evidence=rows)
    assert finding.detail == "2 files of 'S/sample' are also in 'S/set'"


def test_both_limits_of_a_split_are_told_of_the_splits_that_they_are_about():
    said = {finding.code: finding.text for finding in found(counts=counts(test_1=0, test_0=1, train_1=10))}
    assert said["split_class_empty"] == (
        "the test split has 1 negative images; the test split has 0 positive images; at least 2 are needed."
    )
    assert "the train split has 10 positive images" in said["split_class_small"]


def test_the_shortcut_is_told_with_interval_and_n_the_worst_first():
    assert only(audit=audit(border=0.65, file_size=0.71)).text == (
        "each of these alone predicts the label, with an AUROC (95 % interval) of "
        "file_size 0.76 (0.71-0.99), border 0.70 (0.65-0.99), n = 400."
    )


def test_a_disease_is_told_of_its_own_rows_only():
    both = pd.concat([evidence(disease="d", contrast=[0.0]), evidence(disease="e", white=[0.9, 0.9])])
    said = [
        (f.disease, f.code, f.count, f.total) for f in found(("d", "e"), evidence=both.reset_index(drop=True))
    ]
    assert said == [("d", "blank_images", 1, 10), ("e", "saturated_images", 2, 10)]


def test_a_finding_names_at_most_a_thousand_files_and_counts_all():
    finding = only(evidence=evidence(NAMED + 50, contrast=[0.0] * (NAMED + 50)))
    assert (finding.count, len(finding.places), len(finding.images)) == (NAMED + 50, NAMED, NAMED)


def test_a_table_that_breaks_the_contract_fails_its_disease_and_names_the_rows():
    broken = evidence(3)
    broken.loc[1, "contrast"] = np.inf
    finding = only(evidence=broken)
    assert (finding.code, finding.severity, finding.count) == ("contract_broken", "fail", 1)
    assert finding.places == ("S/secret1.png",)
    assert "contrast" in finding.text


def test_the_gravest_comes_first_and_what_another_implies_is_not_repeated():
    made = [
        Finding("d", code, severity, "t", "f")
        for code, severity in (
            ("near_duplicates", "note"), ("split_class_empty", "fail"), ("imbalanced", "warn"),
            ("tiny_images", "warn"), ("one_class_only", "fail"),
        )
    ]  # fmt: skip
    assert [f.code for f in tidy(made)] == ["one_class_only", "tiny_images", "near_duplicates"]
    assert Verdict("d", "D", findings=tidy(made)).state == "fail"
