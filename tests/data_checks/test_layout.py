"""The folders that the catalog names: which are not there, and what is near."""

import tomllib

import pytest

from data_checks.findings import CODES, Finding, failures
from data_checks.layout import check_layout
from data_checks.sources import ClassFolder


def folder(path, source="SPINE", disease="scoliosis", label=0, split=None):
    return ClassFolder(disease, source, path, label, split)


def made(root, *paths):
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)
    return root


def only(root, *wanted):
    (finding,) = check_layout(root, wanted)
    assert finding.severity == "fail"
    assert finding.code in CODES
    return finding


def test_folders_that_are_there_give_no_finding(tmp_path):
    made(tmp_path, "SPINE/straight", "SPINE/bent")
    assert check_layout(tmp_path, [folder("SPINE/straight"), folder("SPINE/bent")]) == []
    assert check_layout(tmp_path, []) == []


def test_a_missing_class_folder_is_named_with_the_nearest_one_and_the_line_to_write(tmp_path):
    made(tmp_path, "SPINE/Straight ones", "SPINE/bent")
    assert only(tmp_path, folder("SPINE/straight_ones")) == Finding(
        "scoliosis",
        "class_folder_missing",
        "fail",
        "'SPINE/straight_ones' was looked for below the data root; 'SPINE' has no folder 'straight_ones'; "
        "did you mean 'Straight ones'? (there are 'Straight ones', 'bent')",
        'in [[diseases.scoliosis.sources]] of your diseases.toml, write the class name as "Straight ones"',
    )


def test_a_missing_source_is_said_once_and_not_once_per_class(tmp_path):
    made(tmp_path, "chest")
    finding = only(tmp_path, folder("CHEST/a", "CHEST"), folder("CHEST/b", "CHEST"))
    assert (finding.disease, finding.code) == ("scoliosis", "source_missing")
    assert finding.text == (
        "'CHEST' was looked for below the data root; '.' has no folder 'CHEST'; "
        "did you mean 'chest'? (there are 'chest')"
    )
    assert (
        finding.fix == 'in [[diseases.scoliosis.sources]] of your diseases.toml, write the folder as "chest"'
    )


def test_a_source_that_several_diseases_lack_is_said_for_each(tmp_path):
    found = check_layout(tmp_path, [folder("S/a", "S", disease="one"), folder("S/a", "S", disease="two")])
    assert [finding.disease for finding in found] == ["one", "two"]
    assert failures(found, "one") == found[:1]


def test_a_deep_source_is_mended_where_it_goes_wrong(tmp_path):
    made(tmp_path, "CHEST/cardiomelgy/train/train")
    finding = only(tmp_path, folder("CHEST/cardiomegaly/train/train/true", "CHEST/cardiomegaly/train/train"))
    assert "'CHEST' has no folder 'cardiomegaly'; did you mean 'cardiomelgy'?" in finding.text
    assert finding.fix.endswith('write the folder as "CHEST/cardiomelgy/train/train"')


def test_a_class_name_of_two_folders_is_mended_as_a_whole(tmp_path):
    made(tmp_path, "SPINE/grades/bent")
    finding = only(tmp_path, folder("SPINE/grade/bent"))
    assert finding.fix.endswith('write the class name as "grades/bent"')


def test_a_wrong_split_folder_is_not_mistaken_for_a_class_name(tmp_path):
    made(tmp_path, "SPINE/training/bent")
    finding = only(tmp_path, folder("SPINE/trainig/bent", split="train"))
    assert "'SPINE' has no folder 'trainig'; did you mean 'training'?" in finding.text
    assert finding.fix.endswith('write the split and class so that they lead to "SPINE/training/bent"')


def test_without_a_near_name_those_that_are_there_are_listed(tmp_path):
    made(tmp_path, *(f"SPINE/{n}{n}" for n in range(10)))
    finding = only(tmp_path, folder("SPINE/straight"))
    listed = ", ".join(f"'{n}{n}'" for n in range(8))
    assert finding.text == (
        f"'SPINE/straight' was looked for below the data root; 'SPINE' has no folder 'straight'; there are {listed} ...."
    )
    assert finding.fix == (
        "put the images there, or name the right class folder of [diseases.scoliosis] in your diseases.toml"
    )


def test_an_empty_root_is_called_empty(tmp_path):
    finding = only(tmp_path, folder("SPINE/straight"))
    assert finding.text == (
        "'SPINE' was looked for below the data root; '.' has no folder 'SPINE'; it is empty."
    )
    assert finding.fix == (
        "put the images there, or name the right source folder of [diseases.scoliosis] in your diseases.toml"
    )


def test_a_file_in_the_place_of_a_folder_is_a_missing_folder(tmp_path):
    made(tmp_path, "SPINE")
    (tmp_path / "SPINE" / "bent").write_text("")
    assert only(tmp_path, folder("SPINE/bent")).code == "class_folder_missing"
    (tmp_path / "HAND").write_text("")
    assert only(tmp_path, folder("HAND/bent", "HAND")).code == "source_missing"


def test_a_link_to_a_folder_is_a_folder_and_a_broken_one_is_not(tmp_path):
    made(tmp_path, "SPINE/bent")
    (tmp_path / "SPINE" / "same").symlink_to("bent")
    (tmp_path / "SPINE" / "gone").symlink_to("nowhere")
    assert check_layout(tmp_path, [folder("SPINE/same")]) == []
    assert only(tmp_path, folder("SPINE/gone")).code == "class_folder_missing"


@pytest.mark.parametrize("name", ["Patient's knees", 'a "quoted" name', "back\\slash", "knäe: left"])
def test_the_proposed_name_is_toml_whatever_is_in_it(tmp_path, name):
    made(tmp_path, f"SPINE/{name}")
    fix = only(tmp_path, folder(f"SPINE/{name}s")).fix
    said = fix.partition("write the class name as ")[2]
    assert tomllib.loads(f"name = {said}") == {"name": name}
