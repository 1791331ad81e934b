"""The folders that the catalog names: which are not there, what is near, and the line that mends it."""

import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time
import tomllib
import unicodedata
from pathlib import Path

import pytest

from data_checks.findings import CODES, failures
from data_checks.folders.layout import check_layout
from data_checks.folders.sources import SourceFolder
from tasks.core.catalog import load_catalog
from tasks.core.mending import mended

SPINE = (("straight", 0), ("bent", 1))
CHEST = (("NORMAL", 0), ("PNEUMONIA", 1))


def source(folder="SPINE", classes=SPINE, **splits):
    return SourceFolder(folder, classes, tuple(splits.items()))


def made(root, *paths):
    """Make folders, each with an image."""
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path / "1.png").write_bytes(b"")
    return root


def check(root, *sources, disease="scoliosis"):
    findings = check_layout(root, {disease: sources})
    for finding in findings:
        assert finding.code in CODES
        assert finding.fix
        assert finding.text.endswith(".")
    return findings


def only(root, *sources, severity="fail", disease="scoliosis"):
    (finding,) = check(root, *sources, disease=disease)
    assert finding.severity == severity
    return finding


def line(finding):
    assert finding.mend.line in finding.fix
    assert finding.mend.table in finding.fix
    return finding.mend.line


def mends(root, *sources, disease="scoliosis"):
    """Return the one finding, after making sure that its mended sources give none."""
    finding = only(root, *sources, disease=disease)
    assert finding.mend is not None, finding
    assert check(root, *finding.mend.sources, disease=disease) == []
    return finding


# Sound trees


def test_folders_that_are_there_give_no_finding(tmp_path):
    made(tmp_path, "SPINE/straight", "SPINE/bent")
    assert check(tmp_path, source()) == []
    assert check_layout(tmp_path, {}) == []


def test_a_link_to_a_folder_is_a_folder_and_a_broken_one_is_not(tmp_path):
    made(tmp_path, "SPINE/bent", "store/straight")
    (tmp_path / "SPINE" / "straight").symlink_to("../store/straight")
    assert check(tmp_path, source()) == []
    (tmp_path / "SPINE" / "straight").unlink()
    (tmp_path / "SPINE" / "straight").symlink_to("nowhere")
    assert only(tmp_path, source()).code == "class_folder_missing"


def test_two_diseases_may_read_one_folder(tmp_path):
    made(tmp_path, "SPINE/straight", "SPINE/bent")
    assert check_layout(tmp_path, {"one": [source()], "two": [source()]}) == []


# Sources that are not there


def test_a_missing_source_is_said_once_and_not_once_per_class(tmp_path):
    made(tmp_path, "HAND/x")
    finding = only(tmp_path, source())
    assert (finding.disease, finding.code, finding.places) == ("scoliosis", "source_missing", ("SPINE",))
    assert finding.text == "The folder of the source is not below the data root."
    assert finding.detail == (
        "'SPINE' was looked for below the data root; the data root has no folder 'SPINE' (there are 'HAND'); "
        "no other folder below the root has its class folders."
    )
    assert (
        finding.fix
        == "put the images there, or name the right folder in [diseases.scoliosis] of your diseases.toml"
    )
    assert finding.mend is None


def test_an_empty_root_and_one_that_is_not_there_have_no_folder(tmp_path):
    for root in (tmp_path, tmp_path / "gone"):
        finding = only(root, source())
        assert "(there is no folder)" in finding.detail


def test_a_source_that_several_diseases_lack_is_said_for_each(tmp_path):
    found = check_layout(tmp_path, {"one": [source()], "two": [source()]})
    assert [finding.disease for finding in found] == ["one", "two"]
    assert failures(found, "one") == found[:1]


def test_a_file_in_the_place_of_a_folder_is_a_missing_folder(tmp_path):
    made(tmp_path, "SPINE/straight", "HAND")
    (tmp_path / "SPINE" / "bent").write_text("")
    assert only(tmp_path, source()).code == "class_folder_missing"
    assert only(tmp_path, source("HAND/1.png")).code == "source_missing"


@pytest.mark.parametrize("name", ["spine", "Spine ", "S-pine", "S_PI NE"])
def test_case_spaces_hyphens_and_underscores_do_not_count(tmp_path, name):
    made(tmp_path, f"{name}/straight", f"{name}/bent", "SPINEX/straight", "SPINEX/bent")
    finding = mends(tmp_path, source())
    assert tomllib.loads(line(finding)) == {"folder": name}
    assert finding.mend.table == "[[diseases.scoliosis.sources]]"
    assert f"did you mean '{name}'?" in finding.detail


def test_the_two_forms_of_an_accent_are_one_name(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Wirbelsäule") for form in ("NFC", "NFD"))
    assert composed != apart
    made(tmp_path, f"{apart}/straight", f"{apart}/bent")
    assert tomllib.loads(line(mends(tmp_path, source(composed)))) == {"folder": apart}


def test_a_deep_source_is_mended_where_it_goes_wrong(tmp_path):
    made(tmp_path, "CHEST/cardiomelgy/train/train/true", "CHEST/cardiomelgy/train/train/false")
    classes = (("false", 0), ("true", 1))
    finding = mends(tmp_path, source("CHEST/cardiomegaly/train/train", classes))
    assert "'CHEST' has no folder 'cardiomegaly' (there are 'cardiomelgy')" in finding.detail
    assert line(finding) == 'folder = "CHEST/cardiomelgy/train/train"'


@pytest.mark.parametrize("there", ["chest_xray/chest_xray", "chest_xray/data/raw"])
def test_images_nested_deeper_are_found_by_their_class_folders(tmp_path, there):
    made(
        tmp_path,
        f"{there}/normal",
        f"{there}/PNEUMONIA",
        f"__MACOSX/{there}/NORMAL",
        f"__MACOSX/{there}/PNEUMONIA",
    )
    finding = mends(tmp_path, source("chest_xray", CHEST), disease="pneumonia")
    assert finding.code == "class_folder_missing"
    assert finding.mend.table == "[diseases.pneumonia]", "two keys change"
    assert finding.mend.sources == (SourceFolder(there, (("normal", 0), ("PNEUMONIA", 1))),)


def test_folders_without_images_are_not_proposed(tmp_path):
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "old" / name).mkdir(parents=True)
        (tmp_path / "old" / name / "notes.txt").write_text("x")
    assert only(tmp_path, source("CHEST/Pneumonia", CHEST)).mend is None


def test_siblings_that_fit_equally_well_are_proposed_together(tmp_path):
    made(
        tmp_path,
        *(f"ARM/MURA/{part}/{name}" for part in ("Forearm", "Humerus") for name in ("Negative", "Positive")),
    )
    finding = mends(
        tmp_path, source("ARM/archive", (("Negative", 0), ("Positive", 1))), disease="bone_fracture"
    )
    assert finding.mend.table == "[diseases.bone_fracture]"
    assert line(finding) == (
        'sources = [{ folder = "ARM/MURA/Forearm", negative = ["Negative"], positive = ["Positive"] }, '
        '{ folder = "ARM/MURA/Humerus", negative = ["Negative"], positive = ["Positive"] }]'
    )


def test_two_sources_of_one_disease_get_a_folder_each(tmp_path):
    made(
        tmp_path,
        *(f"ARM/MURA_Organized/{part}/{name}" for part in ("Forearm", "Humerus") for name in ("a", "b")),
    )
    classes = (("a", 0), ("b", 1))
    found = check(tmp_path, source("MURA/Forearm", classes), source("MURA/Humerus", classes))
    assert [line(finding) for finding in found] == [
        'folder = "ARM/MURA_Organized/Forearm"',
        'folder = "ARM/MURA_Organized/Humerus"',
    ]
    assert [finding.mend.table for finding in found] == [
        f"source {n} of [[diseases.scoliosis.sources]]" for n in (1, 2)
    ]
    assert found[0].mend.sources == found[1].mend.sources
    assert check(tmp_path, *found[0].mend.sources) == []


def test_folders_that_fit_equally_well_and_are_no_siblings_are_left_to_a_person(tmp_path):
    made(tmp_path, *(f"{place}/{name}" for place in ("a/one", "b/two") for name in ("straight", "bent")))
    finding = only(tmp_path, source())
    assert finding.mend is None
    assert (
        finding.text
        == "The folder of the source is not below the data root; 2 other folders may be meant, none for certain."
    )
    assert "none fits best: 'a/one', 'b/two'" in finding.detail
    assert 'write folder = "a/one" or folder = "b/two"' in finding.fix


def test_a_folder_of_the_same_disease_is_never_proposed_and_one_of_another_last(tmp_path):
    made(tmp_path, *(f"{place}/{name}" for place in ("SPINE/a", "SPINE/b") for name in ("straight", "bent")))
    mine, other = source("SPINE/a"), source("SPINE/b")
    found = check(tmp_path, mine, source("SPINE/c/d"))
    assert found[-1].mend.sources == (mine, other)
    assert check(tmp_path, mine, other, source("SPINE/c/d"))[0].mend is None
    (finding,) = check_layout(tmp_path, {"one": [source("SPINE/c/d")], "two": [mine]})
    assert finding.mend.sources == (other,)
    (finding,) = check_layout(tmp_path, {"one": [source("SPINE/c/d")], "two": [mine, other]})
    assert finding.mend.sources == (mine, other), "nothing else fits, and its classes tell what it is"


def test_a_data_set_of_common_class_names_and_no_common_word_is_no_mend(tmp_path):
    classes = (("Negative", 0), ("Positive", 1))
    made(tmp_path, "Tuberculosis/Negative", "Tuberculosis/Positive")
    finding = only(tmp_path, source("ARM/archive", classes), disease="bone_fracture")
    assert finding.mend is None
    assert "did you mean 'Tuberculosis'?" in finding.detail
    assert only(tmp_path, source("TB_set", classes), disease="tuberculosis").mend is not None


# Class folders that are not there


def test_a_missing_class_folder_is_named_with_the_nearest_one_and_the_line_to_write(tmp_path):
    made(tmp_path, "SPINE/straigth", "SPINE/bent")
    finding = mends(tmp_path, source())
    assert finding.code == "class_folder_missing"
    assert finding.text == "A class folder of the source is not there; one of a similar name is."
    assert finding.detail == (
        "'SPINE/straight' was looked for below the data root; 'SPINE' has no folder 'straight' "
        "(there are 'bent', 'straigth'); did you mean 'straigth'?"
    )
    assert (
        finding.fix
        == 'in [[diseases.scoliosis.sources]] of your diseases.toml, write negative = ["straigth"]'
    )
    assert (finding.count, finding.total, finding.places) == (1, 1, ("SPINE/straight",))


def test_several_faults_of_a_disease_have_a_line_each_and_are_mended_together(tmp_path):
    made(tmp_path, "CHEST/Normal", "CHEST/PNEUMONA", "OLD SET/NORMAL", "OLD SET/PNEUMONIA")
    found = check(tmp_path, source("CHEST", CHEST), source("OLD_SET", CHEST), disease="pneumonia")
    assert [(line(finding), finding.mend.table) for finding in found] == [
        ('negative = ["Normal"]', "source 1 of [[diseases.pneumonia.sources]]"),
        ('positive = ["PNEUMONA"]', "source 1 of [[diseases.pneumonia.sources]]"),
        ('folder = "OLD SET"', "source 2 of [[diseases.pneumonia.sources]]"),
    ]
    assert len({finding.mend.sources for finding in found}) == 1
    assert check(tmp_path, *found[0].mend.sources) == []


def test_a_class_name_of_two_folders_is_mended_as_a_whole(tmp_path):
    made(tmp_path, "SPINE/straight", "SPINE/grades/bent")
    finding = mends(tmp_path, source(classes=(("straight", 0), ("grade/bent", 1))))
    assert line(finding) == 'positive = ["grades/bent"]'


def test_several_classes_of_a_label_stay_beside_the_mended_one(tmp_path):
    made(tmp_path, *(f"KNEE/{n}" for n in ("0", "1", "doubtful ", "unclear")))
    finding = mends(tmp_path, source("KNEE", (("0", 0), ("1", 1), ("unclear", None), ("Doubtful", None))))
    assert line(finding) == 'unknown = ["unclear", "doubtful "]'


@pytest.mark.parametrize(
    ("wanted", "there"),
    [("normal", "abnormal"), ("fractured", "not fractured"), ("grade1", "grade2"), ("ill", "ill_negative")],
)
def test_a_contrary_name_is_never_taken_for_a_class(tmp_path, wanted, there):
    made(tmp_path, "HAND/other", f"HAND/{there}")
    finding = check(tmp_path, source("HAND", (("other", 0), (wanted, 1))))[0]
    assert finding.code == "class_folder_missing"
    assert finding.mend is None
    assert "did you mean" not in finding.detail


def test_a_folder_that_is_another_class_already_is_not_proposed(tmp_path):
    made(tmp_path, "SPINE/bent")
    assert only(tmp_path, source(classes=(("bend", 0), ("bent", 1)))).mend is None


def test_without_a_near_name_those_that_are_there_are_listed(tmp_path):
    made(tmp_path, "SPINE/bent", *(f"SPINE/{n}{n}" for n in range(10)))
    finding = only(tmp_path, source())
    listed = ", ".join(f"'{n}{n}'" for n in range(8))
    assert finding.detail.endswith(f"'SPINE' has no folder 'straight' (there are {listed} ...).")
    assert finding.fix == (
        "put the images there, or name the right class folder in [diseases.scoliosis] of your diseases.toml"
    )


def test_two_names_that_are_equally_near_are_left_to_a_person(tmp_path):
    made(tmp_path, "SPINE/bent", "SPINE/Straight", "SPINE/STRAIGHT")
    assert only(tmp_path, source()).mend is None


@pytest.mark.parametrize(
    "name",
    ["Patient's bent", 'a "bent" one', "back\\slash bent", "knäe: bent", "new\nline bent", "<b>bent</b>"],
)
def test_the_line_is_toml_whatever_is_in_the_name(tmp_path, name):
    made(tmp_path, "SPINE/straight", f"SPINE/{name}")
    finding = mends(tmp_path, source(classes=(("straight", 0), (f"{name}s", 1))))
    assert "\n" not in finding.mend.line
    assert tomllib.loads(line(finding)) == {"positive": [name]}
    assert "\n" not in finding.detail
    assert name not in finding.text


# Split folders


@pytest.mark.parametrize("validation", ["val", "Valid", "validation", "DEV"])
def test_a_split_set_that_is_elsewhere_is_proposed_with_its_splits(tmp_path, validation):
    folders = {"train": "train", "validation": validation, "test": "Testing"}
    made(tmp_path, *(f"data/chest_xray/{folder}/{name}" for folder in folders.values() for name, _ in CHEST))
    finding = mends(tmp_path, source("CHEST/pneumonia", CHEST), disease="pneumonia")
    assert finding.mend.sources == (source("data/chest_xray", CHEST, **folders),)
    assert f'splits = {{ train = "train", validation = "{validation}", test = "Testing" }}' in line(finding)


def test_a_source_with_split_folders_that_the_catalog_does_not_name_is_mended_with_them(tmp_path):
    made(tmp_path, *(f"CHEST/{split}/{name}" for split in ("train", "val", "test") for name, _ in CHEST))
    finding = mends(tmp_path, source("CHEST", CHEST))
    assert finding.code == "class_folder_missing"
    assert line(finding) == 'splits = { train = "train", validation = "val", test = "test" }'
    assert finding.text.endswith("; they stand below split folders that the catalog does not name.")


def test_splits_that_are_not_there_go_where_the_classes_stand_directly(tmp_path):
    made(tmp_path, "SPINE/straight", "SPINE/bent")
    finding = mends(tmp_path, source(train="train", test="test"))
    assert finding.code == "split_folder_missing"
    assert finding.mend.sources == (source(),)
    assert line(finding) == 'sources = [{ folder = "SPINE", negative = ["straight"], positive = ["bent"] }]'


def test_a_split_that_is_not_there_is_left_out(tmp_path):
    made(tmp_path, *(f"SPINE/{split}/{name}" for split in ("train", "test") for name, _ in SPINE))
    finding = mends(tmp_path, source(train="train", validation="val", test="test"))
    assert (finding.count, finding.total, finding.places) == (1, 3, ("SPINE/val",))
    assert finding.text == "1 of 3 split folders is not in the folder of the source."
    assert line(finding) == 'splits = { train = "train", test = "test" }'


def test_a_misspelt_split_folder_gets_its_name(tmp_path):
    made(tmp_path, *(f"SPINE/{split}/{name}" for split in ("training", "valid", "test") for name, _ in SPINE))
    finding = mends(tmp_path, source(train="trainig", validation="val", test="test"))
    assert "did you mean 'training', 'valid'?" in finding.detail
    assert line(finding) == 'splits = { train = "training", validation = "valid", test = "test" }'


def test_a_split_set_nested_twice_is_found(tmp_path):
    made(tmp_path, *(f"xray/xray/{split}/{name}" for split in ("train", "test") for name, _ in CHEST))
    finding = mends(tmp_path, source("xray", CHEST, train="train", test="test"))
    assert (finding.code, line(finding)) == ("split_folder_missing", 'folder = "xray/xray"')


def test_a_training_part_that_is_nowhere_has_no_mend(tmp_path):
    made(tmp_path, *(f"SPINE/test/{name}" for name, _ in SPINE))
    finding = only(tmp_path, source(train="train", test="test"))
    assert (finding.code, finding.mend) == ("split_folder_missing", None)


def test_a_class_that_is_spelt_otherwise_in_every_split_is_mended_once(tmp_path):
    made(
        tmp_path,
        *(f"CHEST/{split}/{name}" for split in ("train", "test") for name in ("NORMAL", "Pneumonia")),
    )
    finding = mends(tmp_path, source("CHEST", CHEST, train="train", test="test"))
    assert (line(finding), finding.count) == ('positive = ["Pneumonia"]', 2)
    assert "in 2 of 2 split folders" in finding.text


def test_a_class_that_is_spelt_otherwise_in_one_split_is_to_be_renamed_there(tmp_path):
    made(tmp_path, "CHEST/train/NORMAL", "CHEST/train/PNEUMONIA", "CHEST/test/NORMAL", "CHEST/test/Pneumonia")
    finding = only(tmp_path, source("CHEST", CHEST, train="train", test="test"))
    assert finding.mend is None
    assert finding.fix == (
        "give it one name in all split folders: rename 'Pneumonia' to 'PNEUMONIA' in 'CHEST/test'"
    )


# Folders that count twice


def test_a_source_that_stands_twice_is_said_and_goes(tmp_path):
    made(tmp_path, "SPINE/straight", "SPINE/bent")
    (tmp_path / "again").symlink_to("SPINE")
    for twice in (source("SPINE/."), source("again")):
        finding = only(tmp_path, source(), twice, severity="warn")
        assert finding.code == "folder_counted_twice"
        assert finding.text == "Sources 1 and 2: 2 class folders read twice, so the images would count twice."
        assert finding.mend.sources == (source(),)
        assert (
            line(finding) == 'sources = [{ folder = "SPINE", negative = ["straight"], positive = ["bent"] }]'
        )


def test_a_folder_inside_another_counts_twice(tmp_path):
    made(tmp_path, "SPINE/straight/straight", "SPINE/bent/bent")
    inner = source(classes=(("straight/straight", 0), ("bent/bent", 1)))
    finding = only(tmp_path, inner, source(), severity="warn")
    assert finding.code == "folder_counted_twice"
    assert "'SPINE/bent/bent' lies inside 'SPINE/bent'" in finding.detail
    assert finding.mend.sources == (source(),), "the outer one holds both"


def test_entries_that_count_twice_in_part_are_left_to_a_person(tmp_path):
    made(tmp_path, "SPINE/straight", "SPINE/bent", "SPINE/very bent")
    finding = only(tmp_path, source(), source(classes=(("straight", 0), ("very bent", 1))), severity="warn")
    assert (finding.count, finding.mend) == (1, None)


def test_a_folder_of_both_classes_stops_the_disease(tmp_path):
    made(tmp_path, "SPINE/straight", "SPINE/bent")
    (tmp_path / "SPINE" / "curved").symlink_to("straight")
    finding = only(tmp_path, source(classes=(("straight", 0), ("curved", 1))), source(classes=(("bent", 1),)))
    assert finding.code == "folder_counted_twice"
    assert finding.text == "Source 1: 1 folder in both classes."
    assert finding.detail == "'SPINE/straight' and 'SPINE/curved' are the same folder."
    assert finding.mend is None
    nested = made(tmp_path / "nested", "SPINE/straight/bent")
    assert only(nested, source(classes=(("straight", 0), ("straight/bent", 1)))).severity == "fail"


# What lies beside


def test_a_third_class_is_counted_and_left_to_a_person(tmp_path):
    made(
        tmp_path,
        "CHEST/NORMAL",
        "CHEST/PNEUMONIA",
        "CHEST/Viral/p1",
        "CHEST/Viral/p2",
        "CHEST/__MACOSX",
        "CHEST/.old",
    )
    (tmp_path / "CHEST" / "empty").mkdir()
    finding = only(tmp_path, source("CHEST", CHEST), severity="warn", disease="pneumonia")
    assert (finding.code, finding.count, finding.places) == ("folder_unread", 2, ("CHEST/Viral",))
    assert finding.text == (
        "1 folder with 2 images beside the class folders of source 1: not named in the catalog, so not read."
    )
    assert finding.mend is None
    assert finding.fix == (
        "add them to negative or positive in source 1 of [[diseases.pneumonia.sources]] of your diseases.toml; "
        'to leave them out on purpose, write unknown = ["Viral"]'
    )
    assert check(tmp_path, source("CHEST", (*CHEST, ("Viral", None)))) == []


def test_a_third_class_that_another_disease_reads_is_named(tmp_path):
    made(tmp_path, "CHEST/NORMAL", "CHEST/PNEUMONIA", "CHEST/Viral")
    other = source("CHEST", (("NORMAL", 0), ("Viral", 1), ("PNEUMONIA", None)))
    assert check_layout(tmp_path, {"pneumonia": [source("CHEST", CHEST)], "viral": [other]}) == []


def test_a_third_class_of_one_split_only_cannot_be_named_as_a_class(tmp_path):
    made(
        tmp_path,
        *(f"CHEST/{split}/{name}" for split in ("train", "test") for name, _ in CHEST),
        "CHEST/test/Viral",
    )
    finding = only(tmp_path, source("CHEST", CHEST, train="train", test="test"), severity="warn")
    assert "unknown" not in finding.fix


def test_a_split_folder_that_is_left_out_is_said_with_its_line(tmp_path):
    made(tmp_path, *(f"SPINE/{split}/{name}" for split in ("train", "val", "test") for name, _ in SPINE))
    finding = only(tmp_path, source(train="train", test="test"), severity="warn")
    assert (finding.code, finding.count) == ("folder_unread", 2)
    assert finding.text == "A split folder with 2 images lies in source 1, and the catalog does not name it."
    assert line(finding) == 'splits = { train = "train", validation = "val", test = "test" }'
    assert check(tmp_path, *finding.mend.sources) == []


def test_a_copy_of_the_source_in_itself_is_said(tmp_path):
    made(
        tmp_path,
        *(
            f"xray/{inner}{split}/{name}"
            for inner in ("", "xray/")
            for split in ("train", "test")
            for name, _ in CHEST
        ),
    )
    finding = only(tmp_path, source("xray", CHEST, train="train", test="test"), severity="warn")
    assert "'xray/xray' has the class folders of the source itself" in finding.detail
    assert finding.count == 4


# Archives


def test_an_archive_in_the_place_of_the_source_stops_the_disease_and_its_line_unpacks_it(tmp_path):
    made(tmp_path, "made/straight", "made/bent", "data/HAND/x")
    with tarfile.open(tmp_path / "data" / "It's the spine.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "made", ".")
    finding = only(tmp_path / "data", source("Its_the_spine"))
    assert (finding.code, finding.places) == ("archive_not_unpacked", ("It's the spine.tar.gz",))
    assert finding.text == "An archive stands where the folder of the source is expected; nobody unpacked it."
    subprocess.run(["/bin/sh", "-c", finding.fix], check=True)
    assert check(tmp_path / "data", source("Its_the_spine")) == []


def test_an_archive_in_the_place_of_a_class_folder_stops_the_disease(tmp_path):
    made(tmp_path, "SPINE/straight")
    (tmp_path / "SPINE" / "Bent.zip").write_bytes(b"")
    finding = only(tmp_path, source())
    assert finding.code == "archive_not_unpacked"
    assert shlex.split(finding.fix) == ["unzip", f"{tmp_path}/SPINE/Bent.zip", "-d", f"{tmp_path}/SPINE/bent"]


def test_both_class_folders_may_be_archives(tmp_path):
    made(tmp_path, "HAND/x")
    (tmp_path / "SPINE").mkdir()
    for name in ("bent.7z", "straight.7z"):
        (tmp_path / "SPINE" / name).write_bytes(b"")
    assert [finding.code for finding in check(tmp_path, source())] == ["archive_not_unpacked"] * 2


def test_the_only_thing_there_stands_for_all(tmp_path):
    (tmp_path / "SPINE").mkdir()
    (tmp_path / "SPINE" / "download (3).zip").write_bytes(b"")
    finding = only(tmp_path, source())
    assert (finding.code, finding.severity) == ("archive_not_unpacked", "fail")


def test_an_archive_beside_images_is_a_note_and_one_beside_its_folder_is_none(tmp_path):
    made(tmp_path, "SPINE/straight", "SPINE/bent")
    for name in ("bent.zip", "more.rar"):
        (tmp_path / "SPINE" / name).write_bytes(b"")
    finding = only(tmp_path, source(), severity="note")
    assert finding.places == ("SPINE/more.rar",)
    assert finding.text == "1 archive beside the images: what is in it takes no part."


def test_an_archive_beside_what_was_looked_for_is_a_note_where_the_images_are_found(tmp_path):
    made(tmp_path, "spine/straight", "spine/bent")
    (tmp_path / "other.zip").write_bytes(b"")
    assert [(f.code, f.severity) for f in check(tmp_path, source())] == [
        ("source_missing", "fail"),
        ("archive_not_unpacked", "note"),
    ]


# Hostile trees


def test_links_in_circles_and_out_of_the_root_are_not_followed(tmp_path):
    root, outside = (
        made(tmp_path / "root", "HAND/x"),
        made(tmp_path / "outside", "SPINE/straight", "SPINE/bent"),
    )
    (root / "HAND" / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "out").symlink_to(outside)
    finding = only(root, source())
    assert (finding.code, finding.mend) == ("source_missing", None)
    assert "SPINE/straight" not in finding.detail
    assert "out" not in finding.detail.partition("there are")[2].partition(")")[0]


def test_names_that_are_no_text_or_hold_markup_harm_nothing(tmp_path):
    made(tmp_path, "SPINE/straight", "SPINE/bent", "SPINE/<script>", "SPINE/a\nb", "SPINE/\u202egnp")
    os.makedirs(os.fsencode(tmp_path) + b"/SPINE/\xff")
    (tmp_path / os.fsdecode(b"SPINE/\xff/1.png")).write_bytes(b"")
    (tmp_path / os.fsdecode(b"SPINE/\xfe'\n.zip")).write_bytes(b"")
    for finding in check(tmp_path, source()):
        for text in (finding.text, finding.detail, finding.fix, *finding.places):
            text.encode("utf-8")
        assert "\n" not in finding.detail + finding.fix
        assert "\u202e" not in finding.detail + finding.fix
    done = subprocess.run(["/bin/bash", "-c", f'set -- {finding.fix.partition(": unzip ")[2]}; stat -- "$1"'])
    assert done.returncode == 0, "the shell finds the archive by the name in the line"


def test_a_folder_that_may_not_be_read_is_no_crash():
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    made(root, "SPINE/straight", "SPINE/bent", "HAND/x", "HAND/y")
    sources = {"hand": [source("HAND")], "spine": [source()], "foot": [source("FOOT")]}
    (root / "HAND").chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # root may read everything
            os.seteuid(65534)
        assert not os.access(root / "HAND", os.R_OK, effective_ids=True)
        found = check_layout(root, sources)
    finally:
        os.seteuid(user)
        shutil.rmtree(root)
    assert [(f.disease, f.code) for f in found] == [
        ("hand", "class_folder_missing"),
        ("foot", "source_missing"),
    ]


def test_a_chain_of_two_thousand_folders_is_not_walked_to_its_end(tmp_path):
    # A path may have 4,096 bytes: each step is made from the one above.
    home = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(2000):
            os.mkdir("train")
            os.chdir("train")
    finally:
        os.chdir(home)
    started = time.perf_counter()
    finding = only(tmp_path, source("train/train/SPINE"))
    assert time.perf_counter() - started < 2
    assert finding.mend is None
    assert "(the first 13 folders were searched)" in finding.detail
    subprocess.run(["rm", "-rf", str(tmp_path / "train")], check=True)  # shutil.rmtree would recurse too deep


def test_five_thousand_siblings_take_a_moment(tmp_path):
    for n in range(5000):
        (tmp_path / f"patient {n}" / "straight").mkdir(parents=True)
    made(tmp_path, "Wirbel/straight", "Wirbel/bent")
    started = time.perf_counter()
    finding = only(tmp_path, source())
    assert time.perf_counter() - started < 10, "0.4 s on two idle cores"
    assert line(finding) == 'folder = "Wirbel"'


def test_the_order_of_findings_is_that_of_the_catalog_whatever_the_disk_says(tmp_path):
    made(tmp_path, *(f"CHEST/{name}" for name in ("NORMAL", "PNEUMONIA", "z", "a", "m")))
    finding = only(tmp_path, source("CHEST", CHEST), severity="warn")
    assert finding.places == ("CHEST/a", "CHEST/m", "CHEST/z")


# The tree that four of five diseases were skipped on

TREE = (
    *(f"CHEST/cardiomelgy/train/train/{name}" for name in ("true", "false")),
    *(f"Osteoarthritis/Combined_Osteoarthritis_Dataset/{name}" for name in ("Normal", "Osteoarthritis")),
    *(f"Osteoporosis/Combined_Osteoporosis_Dataset/{name}" for name in ("Normal", "Osteoporosis")),
    *(
        f"ARM/MURA_Organized/{part}/{name}"
        for part in ("Forearm", "Humerus")
        for name in ("Negative", "Positive")
    ),
    *(f"CHEST/Pneumonia_Organized/{name}" for name in ("NORMAL", "PNEUMONIA")),
)
WRONG = {
    "cardiomegaly": ("CHEST/cardiomelgy/train", "false", "true"),
    "arthritis": ("OsteoarthritisDataset/train", "Normal", "Osteoarthritis"),
    "osteoporosis": ("OsteoporosisDataset/train", "Normal", "Osteoporosis"),
    "bone_fracture": ("ARM/archive", "Negative", "Positive"),
    "pneumonia": ("CHEST/Pneumonia_Organized/train", "NORMAL", "PNEUMONIA"),
}
CATALOG = "# five wrong paths\n" + "".join(
    f'\n[[diseases.{key}.sources]]\nfolder = "{folder}" # as in the script\n'
    f'negative = ["{negative}"]\npositive = ["{positive}"]\n'
    for key, (folder, negative, positive) in WRONG.items()
)


def test_five_wrong_paths_are_five_findings_and_five_lines_and_then_none(tmp_path):
    root, catalog = made(tmp_path / "data", *TREE), tmp_path / "catalog"
    catalog.mkdir()
    (catalog / "diseases.toml").write_text(CATALOG)

    def found():
        diseases = load_catalog(catalog).diseases
        return check_layout(root, {key: disease.source_folders() for key, disease in diseases.items()})

    findings = found()
    assert {finding.disease: (finding.code, line(finding)) for finding in findings} == {
        "cardiomegaly": ("class_folder_missing", 'folder = "CHEST/cardiomelgy/train/train"'),
        "arthritis": ("source_missing", 'folder = "Osteoarthritis/Combined_Osteoarthritis_Dataset"'),
        "osteoporosis": ("source_missing", 'folder = "Osteoporosis/Combined_Osteoporosis_Dataset"'),
        "bone_fracture": (
            "source_missing",
            'sources = [{ folder = "ARM/MURA_Organized/Forearm", negative = ["Negative"], positive = ["Positive"] }, '
            '{ folder = "ARM/MURA_Organized/Humerus", negative = ["Negative"], positive = ["Positive"] }]',
        ),
        "pneumonia": ("source_missing", 'folder = "CHEST/Pneumonia_Organized"'),
    }
    assert len(findings) == 5
    assert not any(
        name in finding.text for finding in findings for name in ("CHEST", "ARM", "Osteo", "train")
    )
    (catalog / "diseases.toml").write_text(mended(CATALOG, [finding.mend for finding in findings]))
    assert found() == []


def test_the_same_holds_without_one_of_the_data_sets(tmp_path):
    root = made(tmp_path, *(path for path in TREE if not path.startswith("Osteoporosis")))
    sources = {
        key: [SourceFolder(folder, ((negative, 0), (positive, 1)))]
        for key, (folder, negative, positive) in WRONG.items()
    }
    mended_keys = {finding.disease for finding in check_layout(root, sources) if finding.mend}
    assert mended_keys == set(WRONG) - {"osteoporosis"}, (
        "Normal is a class of two diseases, and no mend for one"
    )


def test_the_real_data_sets_are_sound(shared, tmp_path):
    catalog = Path(__file__).parents[1] / "catalogs" / "radiographs"
    diseases = load_catalog(catalog).diseases
    found = check_layout(
        shared / "radiographs", {key: disease.source_folders() for key, disease in diseases.items()}
    )
    assert not [finding for finding in found if finding.severity == "fail"]
