"""Which files say by their names that they are copies, and which only look like it."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks.copies.duplicates import clusters
from data_checks.copies.name_stems import stem_groups


def linked(*names: str, folder: str = "c") -> set[tuple[str, str]]:
    """The linked pairs of files of one folder."""
    paths = [f"{folder}/{name}" for name in names]
    links = stem_groups(paths, classes=["c"] * len(names)).links
    return {(names[i], names[j]) for i, j in links}


MARKS = (
    " - Copy",
    " - Copy (2)",
    "_copy",
    "-copy2",
    " copy 3",
    " (copy)",
    " - Kopie",
    "-rotated1",
    "-ROTATED1",
    "_rot90",
    "_rotated_270",
    "_rotate15deg",
    "_flip",
    "_hflip",
    "_flipped",
    "_flip_h",
    "_horizontal_flip",
    "_mirror",
    "-mirrored",
    "_aug_3",
    "_aug12",
    "_augmented",
    "_duplicate",
    "-rotated2-rotated1-rotated3 - Copy (1)",
    "-rotated3 (1)",
    "_flip_rot90_aug_3",
    "_rot90_noise",
)


@pytest.mark.parametrize("mark", MARKS)
def test_a_word_at_the_end_makes_a_copy_of_the_file_without_it(mark):
    assert linked("12.png", f"12{mark}.png", "13.png") == {("12.png", f"12{mark}.png")}


@pytest.mark.parametrize("mark", MARKS)
def test_a_word_names_a_copy_also_where_its_original_is_not_there(mark):
    assert stem_groups([f"c/12{mark}.png", "c/1.png"], classes=["c", "c"]).named.tolist() == [True, False]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(MARKS), min_size=1, max_size=4), st.sampled_from(["7", "person1_bacteria_2"]))
def test_words_repeat_in_any_order(marks, stem):
    assert linked(f"{stem}.png", f"{stem}{''.join(marks)}.png") == {
        (f"{stem}.png", f"{stem}{''.join(marks)}.png")
    }


@pytest.mark.parametrize(
    "name",
    [
        "9001234L",
        "person1_bacteria_2",
        "NORMAL2-IM-1162-0001",
        "IMG0000186",
        "autocopy",
        "x_aug_2019",
        "photocopyrot",
        "rotated1",
        "- Copy",
        "x (3)",
        "x_noise",
        "x_1",
        "carrot 12",
        "",
    ],
)
def test_other_names_are_not_those_of_copies(name):
    assert not stem_groups([f"c/{name}.png", "c/y.png"], classes=["c", "c"]).named.any()


def test_a_number_in_brackets_is_a_copy_only_beside_the_file_without_it():
    assert linked("x.jpg", "x (1).jpg", "x (2).JPG") == {("x.jpg", "x (1).jpg"), ("x.jpg", "x (2).JPG")}
    assert linked(*(f"x ({n}).jpg" for n in range(1, 100))) == set()
    assert linked("x.png", "x (1).jpg") == set()
    paths = ["a/x.jpg", "b/x (1).jpg"]
    assert len(stem_groups(paths, classes=["c", "c"]).links) == 0


def test_images_numbered_in_brackets_stay_apart_also_where_they_have_copies():
    names = ("x (1).jpg", "x (1)-rotated1.jpg", "x (2).jpg", "x (2)-rotated1.jpg")
    assert linked(*names) == {names[:2], names[2:]}


def test_a_copy_of_a_copy_leads_to_the_original():
    names = ("x.jpg", "x (1).jpg", "x (1)-rotated1.jpg", "x (2)-rotated1.jpg")
    assert linked(*names) == {(names[0], names[1]), (names[1], names[2]), (names[0], names[3])}


def test_copies_of_one_missing_original_are_linked_to_each_other():
    assert linked("x-rotated1.jpg", "x-rotated2.jpg", "y-rotated1.jpg") == {
        ("x-rotated1.jpg", "x-rotated2.jpg")
    }


def test_a_copy_belongs_to_the_original_of_its_own_ending():
    assert linked("1.png", "1.jpg", "1-rotated1.jpg") == {("1.jpg", "1-rotated1.jpg")}
    assert linked("1.png", "1-rotated1.jpg") == {("1.png", "1-rotated1.jpg")}


def test_a_copy_whose_folder_lacks_the_original_is_linked_across_the_splits_of_its_class():
    paths = ["train/sick/1.png", "test/sick/1-rotated1.png", "test/well/1-rotated1.png"]
    groups = stem_groups(paths, classes=["sick", "sick", "well"])
    assert groups.links.tolist() == [[0, 1]]
    assert groups.named.tolist() == [False, True, True]


def test_two_copies_without_any_original_are_linked_across_the_splits():
    paths = ["train/1_rot90.png", "train/1_rot180.png", "test/1_rot270.png"]
    links = stem_groups(paths, classes=["c"] * 3).links
    assert {tuple(link) for link in links.tolist()} == {(0, 1), (0, 2)}


def test_folders_that_number_their_images_from_one_stay_apart():
    paths = ["train/1.png", "train/1-rotated1.png", "test/1.png", "test/1-rotated1.png"]
    assert stem_groups(paths, classes=["c"] * 4).links.tolist() == [[0, 1], [2, 3]]
    originals = [f"{folder}/{n}.png" for folder in "abc" for n in range(20)]
    assert len(stem_groups(originals, classes=["c"] * 60).links) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab1_- ().copyrotated", max_size=12), max_size=12, unique=True), st.randoms())
def test_links_are_ordered_unique_and_follow_the_files_whatever_their_order(names, random):
    paths = [f"c/{name}.png" for name in names]
    links = stem_groups(paths, classes=["c"] * len(paths)).links
    assert links.dtype == np.int64
    assert (links[:, 0] < links[:, 1]).all()
    np.testing.assert_array_equal(links, np.unique(links, axis=0).reshape(-1, 2))
    shuffled = random.sample(paths, len(paths))
    named = dict(zip(paths, stem_groups(paths, classes=["c"] * len(paths)).named, strict=True))
    assert named == dict(zip(shuffled, stem_groups(shuffled, classes=["c"] * len(paths)).named, strict=True))


def test_no_files_have_no_links():
    groups = stem_groups([], classes=[])
    assert groups.links.shape == (0, 2)
    assert groups.named.shape == (0,)


def test_a_class_is_expected_for_every_path():
    with pytest.raises(ValueError, match=r"a class for every path\. Received: 2 paths, 1 classes\."):
        stem_groups(["a.png", "b.png"], classes=["c"])


@pytest.mark.parametrize("stem", ["_" * 250, " (1)" * 60, " - Copy" * 35, "_ " * 120, "-flip_" * 40])
def test_hostile_names_take_no_time(stem):
    paths = [f"c/{start}{stem}{end}.png" for start in ("", "x") for end in ("", "x")]
    began = time.perf_counter()
    stem_groups(paths, classes=["c"] * len(paths))
    assert time.perf_counter() - began < 0.5


def files_of(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.*")
        if path.suffix.lower() in (".png", ".jpg", ".jpeg")
    )


def test_real_names_of_copies_give_what_a_pattern_made_for_them_gives_and_merge_no_strangers(shared):
    paths = files_of(shared / "radiographs" / "bone_fracture_augmented" / "data")
    stem = re.compile(r"((not )?fractured/[^/]*?)(-rotated\d)*( - Copy)?( \(\d+\))*\.[^./]+$")
    by_pattern = [stem.search(path)[1] for path in paths]
    groups = stem_groups(paths, classes=[path.split("/")[1] for path in paths])
    assert len(paths) == 750
    assert all(by_pattern[i] == by_pattern[j] for i, j in groups.links)
    _, numbers = np.unique(by_pattern, return_inverse=True)
    ours = clusters(len(paths), groups.links)
    together = np.triu(numbers[:, None] == numbers, 1)
    # The rest are images of one number in train and test, each with copies of its own: mostly strangers.
    assert (together & (ours[:, None] == ours)).sum() / together.sum() > 0.9


@pytest.mark.parametrize(
    "folder", ["arthritis_knee_kl", "cardiomegaly_true_false", "osteoporosis_knee", "pneumonia_kermany"]
)
def test_real_names_that_are_none_of_copies_are_left_alone(shared, folder):
    paths = files_of(shared / "radiographs" / folder)
    groups = stem_groups(paths, classes=["c"] * len(paths))
    assert len(paths) >= 400
    assert not groups.named.any()
    assert len(groups.links) == 0
