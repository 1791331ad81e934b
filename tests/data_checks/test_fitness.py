"""Fitness: what stops a disease, what is said beside its score, and in which words."""

import tomllib

import pandas as pd
import pytest

from data_checks.contract import SPLITS
from data_checks.findings import CODES, Finding, failures
from data_checks.fitness import LIMITS, check_fitness
from data_checks.reasons import EXCLUDED, UNREADABLE
from data_checks.sources import ClassFolder

FOLDERS = [ClassFolder("d", "S", "S/neg", 0, None), ClassFolder("d", "S", "S/pos", 1, None)]


def rows(counts=None, *, excluded=()):
    """Manifest rows: `counts` used ones per (split, label), and one per (label, reason, image) excluded."""
    if counts is None:
        counts = {(split, label): 20 for split in SPLITS for label in (0, 1)}
    made = [
        {"path": f"S/{('neg', 'pos')[label]}/{split}{n}.png", "image": f"{split}{label}{n}", "label": label,
         "split": split, "reason": None}
        for (split, label), count in counts.items()
        for n in range(count)
    ]  # fmt: skip
    made += [
        {"path": f"S/{('neg', 'pos')[label]}/out{n}.png", "image": image, "label": label, "split": None, "reason": reason}
        for n, (label, reason, image) in enumerate(excluded)
    ]  # fmt: skip
    frame = pd.DataFrame(made, columns=["path", "image", "label", "split", "reason"])
    return frame.astype({"path": "str", "label": "Int8", "reason": object})


def check(frame, folders=FOLDERS, *, leaking=0, shipped=0):
    found = check_fitness("d", frame, folders, leaking_test_images=leaking, shipped_test_images=shipped)
    assert all(finding.code in CODES and finding.disease == "d" for finding in found)
    return found


def except_one(count):
    counts = {(split, label): 20 for split in SPLITS for label in (0, 1)}
    counts["test", 1] = count
    return counts


def test_enough_images_of_both_classes_in_every_split_give_no_finding():
    assert check(rows()) == []


def test_the_limits_are_those_that_are_documented():
    limits = tomllib.loads(LIMITS.read_text(encoding="utf-8"))
    assert limits == {"fitness": {"fail_below": 2, "warn_below": 20}}


@pytest.mark.parametrize("n", [0, 1])
def test_a_split_with_fewer_than_two_images_of_a_class_stops_the_disease(n):
    found = check(rows(except_one(n)))
    assert found == failures(found, "d")
    assert found == [
        Finding(
            "d",
            "split_class_empty",
            "fail",
            f"the test split has {n} positive images; at least 2 are needed.",
            "add images or patients, or draw the splits anew with another [split] seed in your diseases.toml",
        )
    ]


@pytest.mark.parametrize("n", [2, 19])
def test_a_split_with_few_images_of_a_class_is_warned_of(n):
    assert check(rows(except_one(n))) == [
        Finding(
            "d",
            "split_class_small",
            "warn",
            f"the test split has only {n} positive images: its figures have wide intervals.",
            "add images or patients",
        )
    ]


def test_every_split_and_class_is_judged_by_itself():
    counts = {("train", 0): 30, ("train", 1): 3, ("validation", 1): 1, ("test", 0): 25, ("test", 1): 19}
    assert [(f.code, f.text.split(" images")[0]) for f in check(rows(counts))] == [
        ("split_class_small", "the train split has only 3 positive"),
        ("split_class_empty", "the validation split has 0 negative"),
        ("split_class_empty", "the validation split has 1 positive"),
        ("split_class_small", "the test split has only 19 positive"),
    ]


def test_unreadable_files_are_counted_by_reason():
    out = [(0, "truncated", "a"), (1, "truncated", "b"), (0, "broken_link", None)]
    assert check(rows(excluded=out)) == [
        Finding(
            "d",
            "unreadable_images",
            "warn",
            "3 of 123 files cannot be used: broken_link 1, truncated 2.",
            "docs/reference/checks.md says what each reason means",
        )
    ]


def test_images_that_are_excluded_for_other_reasons_are_not_called_unreadable():
    out = [(0, "duplicate", "train00"), (0, "label_unknown", "u"), (1, "links_splits", "l")]
    assert check(rows(excluded=out)) == []


def test_contradictory_labels_are_counted_as_images_and_as_files():
    out = [(0, "contradictory_label", "a"), (1, "contradictory_label", "a"), (1, "contradictory_label", "a")]
    assert check(rows(excluded=out)) == [
        Finding(
            "d",
            "contradictory_labels",
            "warn",
            "1 images stand byte for byte in both classes (3 files); they take no part.",
            "remove each from the class that it does not belong to",
        )
    ]


def test_a_leaking_shipped_split_is_told_with_its_share():
    assert check(rows(), leaking=88, shipped=100) == [
        Finding(
            "d",
            "shipped_split_leaks",
            "warn",
            "in the split that the source ships, 88 of 100 test images (88%) have a copy or their own patient "
            "among the training images; radtrain divides the images itself.",
            "nothing to do; quote no figure of the shipped split",
        )
    ]


def test_a_shipped_split_that_does_not_leak_is_no_finding():
    assert check(rows(), leaking=0, shipped=100) == []


def test_a_class_folder_without_a_readable_image_stops_the_disease():
    only_negative = {(split, 0): 20 for split in SPLITS}
    found = check(rows(only_negative, excluded=[(1, "empty_file", "e"), (1, "dicom", "f")]))
    assert found == [
        Finding("d", "unreadable_images", "warn", "2 of 62 files cannot be used: dicom 1, empty_file 1.",
                "docs/reference/checks.md says what each reason means"),
        Finding("d", "class_empty", "fail", "'S/pos' holds no readable image (2 files).",
                "put images there, or take the folder out of [[diseases.d.sources]]"),
    ]  # fmt: skip


def test_a_folder_whose_name_begins_like_another_does_not_lend_it_its_images():
    twins = [*FOLDERS, ClassFolder("d", "S", "S/po", 1, None)]
    assert [(f.code, f.text) for f in check(rows(), twins)] == [
        ("class_empty", "'S/po' holds no readable image (0 files).")
    ]


def test_a_folder_with_only_copies_is_not_empty():
    copies = [*FOLDERS, ClassFolder("d", "S", "S/more", 1, None)]
    frame = rows(excluded=[(1, "duplicate", "train10")])
    frame.loc[frame["reason"].notna(), "path"] = "S/more/out.png"
    assert check(frame, copies) == []


def test_a_disease_without_any_file_is_stopped_and_not_divided_by_zero():
    found = check(rows({}))
    assert [f.code for f in found] == ["class_empty", "class_empty"]
    assert found == failures(found, "d")


@pytest.mark.parametrize(("label", "name"), [(0, "negative"), (1, "positive")])
def test_one_class_only_stops_the_disease(label, name):
    counts = {(split, label): 20 for split in SPLITS}
    found = check(rows(counts, excluded=[(1 - label, "links_splits", "a")]))
    assert found == [
        Finding(
            "d",
            "one_class_only",
            "fail",
            f"only {name} images are left to use (of 61 files).",
            "add images of the other class to the folders of [[diseases.d.sources]]",
        )
    ]


def test_nothing_left_to_use_stops_the_disease():
    out = [(label, "contradictory_label", "a") for label in (0, 1)]
    found = check(rows({}, excluded=out))
    assert [(f.code, f.text) for f in found[1:]] == [
        ("one_class_only", "no image is left to use (of 2 files).")
    ]


@pytest.mark.parametrize("reason", UNREADABLE)
def test_every_reason_of_a_broken_image_is_counted(reason):
    assert reason not in EXCLUDED
    (finding,) = check(rows(excluded=[(0, reason, "a")]))
    assert finding.text == f"1 of 121 files cannot be used: {reason} 1."


def test_failures_are_those_of_the_one_disease_that_stop_it():
    found = check(rows(except_one(0))) + check(rows(except_one(5)))
    assert [f.code for f in failures(found, "d")] == ["split_class_empty"]
    assert failures(found, "other") == []


def test_a_pattern_of_patients_that_matches_no_path_is_said():
    frame = rows().assign(patient=None)
    found = check_fitness(
        "d", frame, FOLDERS, leaking_test_images=0, shipped_test_images=0, patient_pattern="(?P<patient>x)"
    )
    assert [finding.code for finding in found] == ["patient_unmatched"]
    assert "matches none of 120 paths" in found[0].text
    frame.loc[0, "patient"] = "p1"
    assert not check_fitness(
        "d", frame, FOLDERS, leaking_test_images=0, shipped_test_images=0, patient_pattern="(?P<patient>x)"
    )


def test_a_shipped_split_that_was_asked_for_and_refused_is_said():
    found = check_fitness(
        "d", rows(), FOLDERS, leaking_test_images=0, shipped_test_images=0, shipped_split_refused=True
    )
    assert [finding.code for finding in found] == ["shipped_split_refused"]
