"""Walking the user's folders: whatever lies there becomes an entry with a reason, never an exception."""

import os
import shutil
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks.images.listing import (
    MAX_BYTES,
    Entry,
    UnreachableFile,
    is_sidecar,
    list_files,
    read_bytes,
    read_file,
)
from data_checks.reasons import UNREACHABLE, UNREADABLE

#: Letters that people and cameras put into names, and some that they should not.
NAMES = ["plain.png", "two words.png", " lead and trail ", "a:b.png", "knäe-日本.png", "line\nbreak.png",
         "quote'\".png", "-rf", "back\\slash.png", "tab\t.png", ".hidden", "%41?*#.png"]  # fmt: skip


def listed(root, *folders):
    """Return the entries by path; a path that is listed twice is a failure."""
    entries = list(list_files(root, folders or ["a"]))
    assert len({entry.path for entry in entries}) == len(entries)
    return {entry.path: entry for entry in entries}


def reasons(root, *folders):
    return {path: entry.unreachable for path, entry in listed(root, *folders).items()}


def put(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def refused(root, entry):
    with pytest.raises(UnreachableFile) as caught:
        read_bytes(root, entry)
    assert str(caught.value) == f"{caught.value.reason}: {UNREACHABLE[caught.value.reason]}"
    return caught.value.reason


# ---- what is sound


def test_every_file_below_a_folder_is_listed_with_size_and_time_and_can_be_read(tmp_path):
    put(tmp_path / "a" / "one.png", b"123")
    put(tmp_path / "a" / "deep" / "er" / "two.png", b"")
    put(tmp_path / "b" / "other.png")
    entries = listed(tmp_path)
    state = (tmp_path / "a" / "one.png").stat()
    assert entries["a/one.png"] == Entry("a/one.png", 3, state.st_mtime_ns)
    assert set(entries) == {"a/one.png", "a/deep/er/two.png"}
    assert read_bytes(tmp_path, entries["a/one.png"]) == b"123"
    assert read_bytes(tmp_path, entries["a/deep/er/two.png"]) == b""


def test_no_folders_and_empty_folders_hold_no_files(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert list(list_files(tmp_path, [])) == []
    assert list(list_files(tmp_path, ["a"])) == []


def test_a_folder_that_is_not_there_is_passed_over(tmp_path):
    put(tmp_path / "a" / "one.png")
    assert set(listed(tmp_path, "nowhere", "a")) == {"a/one.png"}


def test_a_file_is_listed_once_though_its_folder_is_named_twice_or_lies_in_another(tmp_path):
    put(tmp_path / "a" / "b" / "one.png")
    for folders in (["a", "a"], ["a", "a/b"], ["a/b", "a"]):
        assert set(listed(tmp_path, *folders)) == {"a/b/one.png"}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_every_kind_are_listed_and_read(tmp_path, name):
    put(tmp_path / "a" / name, b"12")
    put(tmp_path / "a" / f"folder {name}" / "x", b"34")
    entries = listed(tmp_path)
    assert set(entries) == {f"a/{name}", f"a/folder {name}/x"}
    assert read_bytes(tmp_path, entries[f"a/{name}"]) == b"12"
    assert read_bytes(tmp_path, entries[f"a/folder {name}/x"]) == b"34"


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(deadline=None, max_examples=40)
@given(st.sets(names.filter(lambda name: name not in (".", "..") and len(name.encode()) < 200), max_size=8))
def test_any_set_of_names_comes_back_as_it_is(tmp_path_factory, given_names):
    root = tmp_path_factory.mktemp("names")
    for name in given_names:
        put(root / "a" / name, name.encode())
    entries = listed(root)
    assert set(entries) == {f"a/{name}" for name in given_names}
    for path, entry in entries.items():
        if not is_sidecar(path):
            assert read_bytes(root, entry) == path[2:].encode()


# ---- links


def test_a_link_to_a_file_inside_the_root_is_a_file_of_its_own(tmp_path):
    put(tmp_path / "store" / "one.png", b"123")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link.png").symlink_to("../store/one.png")
    entries = listed(tmp_path)
    assert (entries["a/link.png"].bytes, entries["a/link.png"].unreachable) == (3, None)
    assert read_bytes(tmp_path, entries["a/link.png"]) == b"123"


def test_a_link_to_a_folder_inside_the_root_is_followed(tmp_path):
    put(tmp_path / "store" / "one.png")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to("../store")
    assert reasons(tmp_path) == {"a/link/one.png": None}


def test_a_class_folder_that_is_itself_a_link_is_followed(tmp_path):
    put(tmp_path / "store" / "one.png")
    (tmp_path / "a").symlink_to("store")
    assert reasons(tmp_path) == {"a/one.png": None}
    assert reasons(tmp_path, "a", "store") == {"a/one.png": None, "store/one.png": None}


def test_a_root_that_is_a_link_is_no_way_out(tmp_path):
    put(tmp_path / "real" / "a" / "one.png")
    (tmp_path / "real" / "a" / "link.png").symlink_to("one.png")
    (tmp_path / "root").symlink_to("real")
    assert reasons(tmp_path / "root") == {"a/one.png": None, "a/link.png": None}


def test_a_folder_that_contains_itself_by_a_link_is_entered_once(tmp_path):
    put(tmp_path / "a" / "b" / "one.png")
    (tmp_path / "a" / "b" / "up").symlink_to("..")
    (tmp_path / "a" / "here").symlink_to(".")
    assert len(listed(tmp_path)) == 1


def test_two_folders_that_link_to_each_other_are_entered_once_each(tmp_path):
    put(tmp_path / "a" / "p" / "one.png")
    put(tmp_path / "a" / "q" / "two.png")
    (tmp_path / "a" / "p" / "q").symlink_to("../q")
    (tmp_path / "a" / "q" / "p").symlink_to("../p")
    assert sorted(path.rpartition("/")[2] for path in listed(tmp_path)) == ["one.png", "two.png"]


def test_links_that_lead_nowhere_or_in_a_circle_are_broken(tmp_path):
    (tmp_path / "a").mkdir()
    for name, target in {
        "gone": "nowhere",
        "deep": "no/where",
        "one": "two",
        "two": "one",
        "self": "self",
    }.items():
        (tmp_path / "a" / name).symlink_to(target)
    entries = listed(tmp_path)
    assert {entry.unreachable for entry in entries.values()} == {"broken_link"}
    assert len(entries) == 5
    assert refused(tmp_path, entries["a/gone"]) == "broken_link"


def test_a_link_out_of_the_root_is_not_followed(tmp_path):
    put(tmp_path / "elsewhere" / "one.png")
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "file").symlink_to(tmp_path / "elsewhere" / "one.png")
    (root / "a" / "folder").symlink_to("../../elsewhere")
    put(tmp_path / "rooted" / "two.png")  # shares the letters of the root's name, and is not in it
    (root / "a" / "sibling").symlink_to(tmp_path / "rooted" / "two.png")
    assert set(reasons(root).values()) == {"outside_root"}
    assert set(reasons(root)) == {"a/file", "a/folder", "a/sibling"}
    assert refused(root, listed(root)["a/file"]) == "outside_root"


# ---- what is no file, or cannot be read


def test_a_pipe_and_a_socket_are_no_files_and_do_not_block(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe.png")
    monkeypatch.chdir(tmp_path / "a")  # the address of a socket has at most 108 letters
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.png")
        entries = listed(tmp_path)
    assert {path: entry.unreachable for path, entry in entries.items()} == {
        "a/pipe.png": "not_a_file",
        "a/socket.png": "not_a_file",
    }
    assert refused(tmp_path, entries["a/pipe.png"]) == "not_a_file"


def test_a_name_that_is_not_utf8_is_listed_in_letters_that_can_be_written(tmp_path):
    (tmp_path / "a").mkdir()
    put(tmp_path / "a" / "good.png")
    folder = os.fsencode(tmp_path / "a")
    try:
        with open(folder + b"/b\xe4d.png", "wb"):
            pass
        os.mkdir(folder + b"/d\xff")
    except OSError:
        pytest.skip("this file system keeps no names that are not UTF-8")
    with open(folder + b"/d\xff/in.png", "wb"):
        pass
    entries = listed(tmp_path)
    assert {path: entry.unreachable for path, entry in entries.items()} == {
        "a/good.png": None,
        "a//b\\xe4d.png": "name_not_utf8",
        "a/d\\xff//in.png": "name_not_utf8",
    }
    assert refused(tmp_path, entries["a//b\\xe4d.png"]) == "name_not_utf8"


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    put(tmp_path / "a" / "large.png")
    os.truncate(tmp_path / "a" / "large.png", MAX_BYTES + 1)  # sparse: takes no room
    entries = listed(tmp_path)
    assert entries["a/large.png"] == Entry(
        "a/large.png", MAX_BYTES + 1, entries["a/large.png"].mtime_ns, "file_too_large"
    )
    assert refused(tmp_path, entries["a/large.png"]) == "file_too_large"


def test_a_file_of_just_the_limit_may_be_read(tmp_path):
    put(tmp_path / "a" / "large.png")
    os.truncate(tmp_path / "a" / "large.png", MAX_BYTES)
    assert reasons(tmp_path) == {"a/large.png": None}


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_may_not_be_read_is_named_and_the_rest_is_listed(tmp_path):
    put(tmp_path / "a" / "closed" / "one.png")
    secret = put(tmp_path / "a" / "secret.png")
    put(tmp_path / "a" / "open.png")
    (tmp_path / "a" / "closed").chmod(0)
    secret.chmod(0)
    try:
        entries = listed(tmp_path)
        assert reasons(tmp_path) == {
            "a/closed": "permission_denied",
            "a/secret.png": None,
            "a/open.png": None,
        }
        assert refused(tmp_path, entries["a/secret.png"]) == "permission_denied"
    finally:
        (tmp_path / "a" / "closed").chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_named_and_the_rest_is_listed(tmp_path):
    # Works for root as well: a path longer than the system takes cannot be opened.
    put(tmp_path / "a" / "open.png")
    place = os.getcwd()
    os.chdir(tmp_path / "a")
    try:
        for _ in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
    finally:
        os.chdir(place)
    found = reasons(tmp_path)
    assert found.pop("a/open.png") is None
    assert set(found.values()) == {"read_error"}
    assert len(found) == 1


def test_a_file_named_as_a_class_folder_is_an_entry_and_no_exception(tmp_path):
    put(tmp_path / "a")
    assert reasons(tmp_path) == {"a": "read_error"}


# ---- notes of an operating system

SIDECARS = [".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini", "Desktop.ini", ".directory", ".gitkeep", ".gitignore",
            ".gitattributes", "._knee.png", "knee.png:Zone.Identifier", "a\nb.png:Zone.Identifier", "._line\nbreak.png",
            "__MACOSX/knee.png", "__MACOSX/deep/er/knee.png"]  # fmt: skip
NO_SIDECARS = ["DS_Store.png", "Thumbs.db.png", ".hidden.png", "_.png", "a._b.png", "Zone.Identifier", "__MACOSX.png",
               "_MACOSX/knee.png", "x:Zone.Identifier.png", ".gitkeep/knee.png", "thumbs.db/knee.png"]  # fmt: skip


@pytest.mark.parametrize("name", SIDECARS)
def test_a_note_of_an_operating_system_is_told_by_its_name_and_never_read(tmp_path, name):
    path = put(tmp_path / "a" / name, b"1234")
    assert is_sidecar(f"a/{name}")
    entry = listed(tmp_path)[f"a/{name}"]
    assert entry == Entry(f"a/{name}", 4, path.stat().st_mtime_ns, "sidecar")
    with pytest.raises(UnreachableFile) as caught:
        read_bytes(tmp_path, entry)
    assert str(caught.value) == f"sidecar: {UNREADABLE['sidecar']}"


@pytest.mark.parametrize("name", NO_SIDECARS)
def test_a_name_that_only_resembles_a_note_is_a_file_like_any_other(tmp_path, name):
    put(tmp_path / "a" / name)
    assert not is_sidecar(f"a/{name}")
    assert reasons(tmp_path) == {f"a/{name}": None}


def test_all_below_a_folder_of_notes_is_one_even_where_the_folder_itself_is_named(tmp_path):
    put(tmp_path / "__MACOSX" / "a" / "knee.png")
    assert reasons(tmp_path, "__MACOSX/a") == {"__MACOSX/a/knee.png": "sidecar"}


# ---- what changes meanwhile


def test_a_file_that_vanishes_between_listing_and_reading_is_called_so(tmp_path):
    path = put(tmp_path / "a" / "one.png")
    entry = listed(tmp_path)["a/one.png"]
    path.unlink()
    assert refused(tmp_path, entry) == "vanished"


@pytest.mark.parametrize("after", [b"", b"12", b"1234"])
def test_a_file_whose_size_changes_between_listing_and_reading_is_refused(tmp_path, after):
    path = put(tmp_path / "a" / "one.png", b"123")
    entry = listed(tmp_path)["a/one.png"]
    path.write_bytes(after)
    assert refused(tmp_path, entry) == "vanished"


def test_a_file_that_becomes_a_folder_or_a_broken_link_is_refused(tmp_path):
    path = put(tmp_path / "a" / "one.png")
    entry = listed(tmp_path)["a/one.png"]
    path.unlink()
    path.mkdir()
    assert refused(tmp_path, entry) == "read_error"
    path.rmdir()
    path.symlink_to("nowhere")
    assert refused(tmp_path, entry) == "broken_link"


@pytest.mark.parametrize("gone", ["a/before", "a/then"])
def test_a_folder_that_vanishes_during_the_walk_is_named_and_stops_nothing(tmp_path, gone):
    put(tmp_path / "a" / "before" / "one.png")  # has been seen, and waits to be listed
    put(tmp_path / "a" / "file.png")
    put(tmp_path / "a" / "then" / "two.png")  # has not been looked at
    put(tmp_path / "b" / "last.png")
    walk = list_files(tmp_path, ["a", "b"])
    assert next(walk).path == "a/file.png"
    shutil.rmtree(tmp_path / gone)
    rest = {entry.path: entry.unreachable for entry in walk}
    left = {"a/before": "a/then/two.png", "a/then": "a/before/one.png"}[gone]
    assert rest == {gone: "vanished", left: None, "b/last.png": None}


def test_every_reason_says_what_to_do():
    for reason, text in UNREACHABLE.items():
        assert str(UnreachableFile(reason)) == f"{reason}: {text}"
        assert text.endswith(".")
        assert ". " in text  # what it is, and what to do


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path):
    put(tmp_path / "a" / "x.png", b"12345")
    (entry,) = list_files(tmp_path, ["a"])
    (tmp_path / "a" / "x.png").unlink()
    os.mkfifo(tmp_path / "a" / "x.png")
    for read in (lambda: read_bytes(tmp_path, entry), lambda: read_file(tmp_path, "a/x.png")):
        with pytest.raises(UnreachableFile) as caught:
            read()
        assert caught.value.reason == "not_a_file"


def test_a_file_read_again_may_not_lead_out_of_the_root(tmp_path):
    put(tmp_path / "outside.png", b"1")
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "x.png").symlink_to(tmp_path / "outside.png")
    for path in ("a/x.png", "../outside.png"):
        with pytest.raises(UnreachableFile) as caught:
            read_file(tmp_path / "root", path)
        assert caught.value.reason == "outside_root"
    with pytest.raises(UnreachableFile):
        read_file(tmp_path / "root", "a/nothing.png")
