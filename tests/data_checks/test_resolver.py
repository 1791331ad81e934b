"""Where images may be: names that mean the same, folders below a root, and what is proposed from them."""

import os
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_checks.folders.folder_tree import ancestors, is_within, joined, list_folder, parent, walk
from data_checks.folders.names import (
    archive_stem,
    close_name,
    contrary,
    fold,
    is_image_name,
    same_name,
    shown,
    unpack_command,
    words,
)
from data_checks.folders.resolver import (
    MAX_TOGETHER,
    Lookup,
    deepest,
    find_classes,
    find_path,
    fitting,
    propose,
)
from data_checks.folders.sources import SourceFolder

SPINE = (("straight", 0), ("bent", 1))
COMMON = (("Negative", 0), ("Positive", 1))


def made(root, *paths):
    """Make folders, each with an image."""
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path / "1.png").write_bytes(b"")
    return root


def proposed(root, source, *, disease="scoliosis", taken=(), elsewhere=()):
    proposal = propose(Lookup(root), disease, source, taken=taken, elsewhere=elsewhere)
    return [its.folder for its in proposal.sources], proposal.sure


# Names


@given(st.text(max_size=20))
def test_folding_twice_is_folding_once(name):
    assert fold(fold(name)) == fold(name)


@given(st.text(min_size=1, max_size=20))
def test_the_forms_of_a_name_are_one_name(name):
    composed, apart = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert fold(composed) == fold(apart)
    assert same_name(composed, [apart]) == apart


def test_a_name_that_is_there_is_itself_and_two_that_are_equal_are_none():
    assert same_name("Normal", ["NORMAL", "Normal"]) == "Normal"
    assert same_name("normal", ["NORMAL", "Normal"]) is None
    assert same_name("+", ["-", "+"]) == "+"
    assert same_name("-", ["_"]) is None, "a name of hyphens alone is more than nothing"
    composed, apart = (unicodedata.normalize(form, "Ä") for form in ("NFC", "NFD"))
    assert same_name(composed, [apart, "ä"]) == apart


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("normal", "abnormal"),
        ("normal", "abnormel"),
        ("fractured", "not fractured"),
        ("fractured", "notfractred"),
        ("infected", "un-infected"),
        ("symptomatic", "asymptomatic"),
        ("pneumonia", "no pneumonia"),
        ("pneumonia", "pneumonia negative"),
        ("grade 1", "grade 2"),
        ("KL10", "KL1"),
    ],
)
def test_contraries_are_told_from_misspellings(name, other):
    assert contrary(name, other)
    assert contrary(other, name)
    assert close_name(name, [other]) is None


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Negative", "Negatve"),
        ("normal", "nomral"),
        ("normal", "norml"),
        ("PNEUMONIA", "PNEUMONA"),
        ("nodule", "noodule"),
        ("images", "image"),
        ("0_normal", "normal"),
        ("trainig", "training"),
    ],
)
def test_misspellings_are_near(name, other):
    assert not contrary(name, other)
    assert close_name(name, ["something else", other]) == other


def test_two_names_that_are_equally_near_are_none():
    assert close_name("bent", ["bend", "bens"]) is None
    assert close_name("bent", []) is None


def test_words_are_told_by_case_and_by_what_parts_them():
    assert words("CHEST/Pneumonia_OrganizedSet2") == ["chest", "pneumonia", "organized", "set", "2"]
    assert words("Röntgen-Bilder") == ["röntgen", "bilder"]


def test_a_name_is_shown_on_one_line():
    assert shown("a\nb\u202ec'd") == "'a\\u000ab\\u202ec'd'"


@pytest.mark.parametrize("name", ["a.png", "A.JPEG", "a.b.dcm", "IM0001", "1.2.840.113619.2.5"])
def test_names_of_images(name):
    assert is_image_name(name)


@pytest.mark.parametrize("name", ["a.txt", "README", "Thumbs.db", "a.png:Zone.Identifier", "a.1"])
def test_names_of_other_files(name):
    assert not is_image_name(name)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a b.zip", "unzip '/d/a b.zip' -d '/d/a b'"),
        ("x.TAR.GZ", "mkdir -p '/d/a b' && tar -xf /d/x.TAR.GZ -C '/d/a b'"),
        ("x.tgz", "mkdir -p '/d/a b' && tar -xf /d/x.tgz -C '/d/a b'"),
        ("x.tar", "mkdir -p '/d/a b' && tar -xf /d/x.tar -C '/d/a b'"),
        ("x.7z", "7z x /d/x.7z -o'/d/a b'"),
        ("x.rar", "mkdir -p '/d/a b' && unrar x /d/x.rar '/d/a b'/"),
        ("x.dcm.gz", "mkdir -p '/d/a b' && gunzip -c /d/x.dcm.gz > '/d/a b'/x.dcm"),
        ("x.png.bz2", "mkdir -p '/d/a b' && bunzip2 -c /d/x.png.bz2 > '/d/a b'/x.png"),
        ("x.png.xz", "mkdir -p '/d/a b' && unxz -c /d/x.png.xz > '/d/a b'/x.png"),
        ("a\nb'.zip", "unzip $'/d/a\\x0ab\\x27.zip' -d '/d/a b'"),
    ],
)
def test_every_archive_has_the_line_that_unpacks_it(name, line):
    assert archive_stem(name) is not None
    assert unpack_command(f"/d/{name}", "/d/a b") == line


def test_the_ending_of_an_archive_is_no_part_of_its_name():
    assert archive_stem("spine.tar.gz") == "spine"
    assert archive_stem("spine.png") is None


# Folders


def test_paths_below_the_root():
    assert (joined(".", "a"), joined("a", "."), joined("a", "b/c")) == ("a", "a", "a/b/c")
    assert (parent("a/b"), parent("a"), parent(".")) == ("a", ".", ".")
    assert ancestors("a/b/c") == ["a/b", "a", "."]
    assert is_within("a/b", "a")
    assert is_within("a", ".")
    assert not is_within("ab", "a")


def test_a_folder_is_listed_by_names_alone(tmp_path):
    made(tmp_path, "b", "a", ".hidden", "__MACOSX")
    for name in ("1.png", "2.dcm", "notes.txt", "a.zip", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.png").symlink_to("1.png")
    (tmp_path / "same").symlink_to("a")
    for n in range(20):  # one of them is met before the others, in whatever order the disk has them
        (tmp_path / f"loop{n}").symlink_to(f"loop{n}")
    found = list_folder(tmp_path, ".")
    assert found.folders == ("a", "b", "same")
    assert found.links == {"same"}
    assert (found.archives, found.images) == (("a.zip",), 3 + 20), "a link without ending may be a DICOM file"


def test_what_leads_out_of_the_root_is_empty(tmp_path):
    root = made(tmp_path / "root", "a")
    made(tmp_path / "outside", "b")
    (root / "out").symlink_to("../outside")
    (root / "loop").symlink_to("loop")
    for path in ("out", "loop", "..", "gone", "a/1.png", "nul\0"):
        assert list_folder(root, path) == list_folder(root, "not there")
    assert list_folder(root, ".").folders == ("a",)


def test_the_tree_counts_what_lies_below_and_follows_no_link(tmp_path):
    made(tmp_path, "a/b/c", "a/d")
    (tmp_path / "a" / "d" / "up").symlink_to(tmp_path)
    tree = walk(tmp_path)
    assert list(tree.folders) == [".", "a", "a/b", "a/d", "a/b/c"]
    assert (tree.images["."], tree.images["a"], tree.images["a/b"]) == (2, 2, 1)
    assert tree.unseen == {"a/d/up", "a/d", "a", "."}
    assert walk(tmp_path, "a/b").images == {"a/b": 1, "a/b/c": 1}


def test_the_walk_ends_and_says_where(tmp_path):
    made(tmp_path, "a/b/c", "d")
    tree = walk(tmp_path, max_depth=1)
    assert list(tree.folders) == [".", "a", "d"]
    assert tree.unseen == {".", "a", "a/b"}
    assert tree.holds_images("a"), "it may"
    assert list(walk(tmp_path, max_folders=2).folders) == [".", "a"]
    assert not walk(tmp_path, max_folders=9).unseen


def test_a_folder_of_many_files_is_neither_sorted_nor_asked_for_each_state(tmp_path):
    for n in range(20_000):
        (tmp_path / f"{n}.png").touch()
    started = time.perf_counter()
    assert list_folder(tmp_path, ".").images == 20_000
    assert time.perf_counter() - started < 1, "0.02 s on two idle cores"


# Lookups


def test_a_path_is_found_part_by_part(tmp_path):
    made(tmp_path, "Chest/Pneumonia set/NORMAL", "Chest/other")
    look = Lookup(tmp_path)
    assert find_path(look, ".", "chest/pneumonia-set/normal") == "Chest/Pneumonia set/NORMAL"
    assert find_path(look, ".", "Chst/other") is None
    assert find_path(look, ".", "Chst/other", close=True) == "Chest/other"
    assert find_path(look, "Chest", "othr", close=True, without={"Chest/other"}) is None
    assert deepest(look, "Chest/gone/further") == ("Chest", ("gone", "further"))
    assert deepest(look, "gone") == (".", ("gone",))
    assert deepest(look, "Chest/other") == ("Chest/other", ())


def test_one_folder_is_not_two_classes(tmp_path):
    made(tmp_path, "NORMAL", "bent")
    look = Lookup(tmp_path)
    assert find_classes(look, ".", ["Normal", "normal"]) == {"Normal": "NORMAL", "normal": None}
    assert find_classes(look, ".", ["bend", "bent"], close=True) == {"bend": None, "bent": "bent"}
    assert find_classes(look, ".", ["Normel", "bend"], close=True) == {"Normel": "NORMAL", "bend": "bent"}


def test_a_source_fits_with_the_splits_that_have_its_classes(tmp_path):
    made(tmp_path, *(f"{split}/{name}" for split in ("Train", "test") for name, _ in SPINE), "val/straight")
    assert fitting(Lookup(tmp_path), SourceFolder("x", SPINE), ".") == SourceFolder(
        ".", SPINE, (("train", "Train"), ("test", "test"))
    )


def test_splits_of_unequal_spelling_do_not_fit(tmp_path):
    made(tmp_path, "train/straight", "train/bent", "test/straight", "test/Bent")
    assert fitting(Lookup(tmp_path), SourceFolder("x", SPINE), ".") is None


def test_a_training_part_alone_is_no_split_set_unless_the_catalog_says_so(tmp_path):
    made(tmp_path, "train/straight", "train/bent")
    assert fitting(Lookup(tmp_path), SourceFolder("x", SPINE), ".") is None
    said = (("train", "train"),)
    assert fitting(Lookup(tmp_path), SourceFolder("x", SPINE, said), ".") == SourceFolder(".", SPINE, said)


# Proposals


def test_the_same_path_wins_over_all_others(tmp_path):
    made(tmp_path, *(f"{place}/{name}" for place in ("spine", "SPINES", "a/SPINE") for name, _ in SPINE))
    assert proposed(tmp_path, SourceFolder("SPINE", SPINE)) == (["spine"], True)


def test_a_near_name_wins_where_it_has_the_class_folders(tmp_path):
    made(tmp_path, "SPINES/straight", "SPINES/bent", "other/straight", "other/bent", "SPIN/straight")
    assert proposed(tmp_path, SourceFolder("SPINE", SPINE)) == (["SPINES"], True)
    made(tmp_path, "HANDS/straight")
    assert proposed(tmp_path, SourceFolder("HAND", SPINE), taken=["SPINES/bent"]) == (["other"], True)


def test_a_near_name_without_the_class_folders_is_shown_and_not_sure(tmp_path):
    made(tmp_path, "SPINES/left")
    assert proposed(tmp_path, SourceFolder("SPINE", SPINE)) == (["SPINES"], False)


def test_the_nearest_place_wins_then_the_most_words(tmp_path):
    made(tmp_path, *(f"{place}/{name}" for place in ("BACK/one", "FRONT/scoliosis") for name, _ in SPINE))
    assert proposed(tmp_path, SourceFolder("BACK/SPINE/x", SPINE)) == (["BACK/one"], True)
    assert proposed(tmp_path, SourceFolder("gone/x", SPINE)) == (["FRONT/scoliosis"], True), (
        "the disease's key"
    )


def test_what_lies_in_a_folder_that_fits_is_no_other_place(tmp_path):
    made(tmp_path, *(f"{place}/{name}" for place in ("x", "x/copy", "x/copy/copy") for name, _ in SPINE))
    assert proposed(tmp_path, SourceFolder("SPINE", SPINE)) == (["x"], True)


def test_many_siblings_are_a_collection_and_not_one_data_set(tmp_path):
    made(tmp_path, *(f"all/{n}/{name}" for n in range(MAX_TOGETHER + 1) for name, _ in SPINE))
    folders, sure = proposed(tmp_path, SourceFolder("SPINE", SPINE))
    assert (len(folders), sure) == (MAX_TOGETHER + 1, False)


def test_common_class_names_need_a_common_word_and_a_free_folder(tmp_path):
    made(tmp_path, "Lungs/TB/Negative", "Lungs/TB/Positive")
    source = SourceFolder("ARM/archive", COMMON)
    assert proposed(tmp_path, source, disease="bone_fracture") == (["Lungs/TB"], False)
    assert proposed(tmp_path, source, disease="lung_disease") == (["Lungs/TB"], True)
    read = ["Lungs/TB/Negative", "Lungs/TB/Positive"]
    assert proposed(tmp_path, source, disease="lung_disease", elsewhere=read) == (["Lungs/TB"], False)
    assert proposed(tmp_path, source, disease="lung_disease", taken=read) == ([], False)


def test_a_class_that_is_the_source_itself_is_not_looked_for_by_content(tmp_path):
    made(tmp_path, "a", "b")
    assert proposed(tmp_path, SourceFolder("SPINE", ((".", 0),))) == ([], False)
    assert proposed(tmp_path, SourceFolder("SPINE", ())) == ([], False)


def test_links_to_class_folders_inside_the_root_count(tmp_path):
    made(tmp_path, "store/1", "store/2")
    (tmp_path / "linked").mkdir()
    for (name, _), target in zip(SPINE, ("1", "2"), strict=True):
        (tmp_path / "linked" / name).symlink_to(f"../store/{target}")
    assert proposed(tmp_path, SourceFolder("SPINE", SPINE)) == (["linked"], True)


def test_names_that_are_no_text_are_never_proposed(tmp_path):
    made(tmp_path, *(os.fsdecode(b"x\xff/") + name for name, _ in SPINE))
    assert proposed(tmp_path, SourceFolder("SPINE", SPINE)) == ([], False)
    assert find_path(Lookup(tmp_path), ".", "x", close=True) is None
