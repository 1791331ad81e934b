"""Files of the home folder: whole or none, one process at a time, and errors with a remedy."""

import contextlib
import errno
import json
import math
import os
import resource
import threading

import pyarrow as pa
import pytest

from tasks import files
from tasks.core.errors import StorageError
from tasks.files import prepare_home, read_json, write_atomically, write_json, writing
from tasks.store import write_table


@contextlib.contextmanager
def files_of_at_most(size):
    """Let no file of this process grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refused(path, fix, received, work):
    with pytest.raises(StorageError) as caught:
        work()
    assert str(caught.value) == (
        "radtrain cannot write to its home folder.\n"
        f"  where:    {path}\n"
        "  expected: a writable place with free space\n"
        f"  received: {received}\n"
        f"  fix:      {fix}"
    )
    assert caught.value.exit_code == 15


def nothing_in(folder):
    return list(folder.iterdir()) == []


# ---- whole or not at all


def write_large(path, kind):
    """Write more than 64 KiB."""
    large = list(range(100_000))
    if kind == "json":
        write_json(path, large)
    else:
        write_table(path, pa.table({"n": large}))


def test_a_file_is_written_whole_below_folders_that_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    assert write_atomically(path, lambda file: file.write(b"123")) == path
    assert path.read_bytes() == b"123"
    assert [one.name for one in path.parent.iterdir()] == ["c.bin"]


def test_a_file_that_is_there_is_replaced(tmp_path):
    path = tmp_path / "c.bin"
    for content in (b"longer content", b"1"):
        write_atomically(path, lambda file, content=content: file.write(content))
    assert path.read_bytes() == b"1"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_a_writer_that_raises_leaves_nothing_and_keeps_what_was_there(tmp_path, error):
    def write(file):
        file.write(b"half")
        raise error("no")

    with pytest.raises(error, match="no"):
        write_atomically(tmp_path / "new.bin", write)
    assert nothing_in(tmp_path)
    write_atomically(tmp_path / "old.bin", lambda file: file.write(b"old"))
    with pytest.raises(error, match="no"):
        write_atomically(tmp_path / "old.bin", write)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"old.bin": b"old"}


def test_whoever_reads_while_others_write_sees_one_whole_file(tmp_path):
    path = tmp_path / "c.bin"
    contents = [bytes([letter]) * 40_000 for letter in b"ab"]

    def keep_writing(content):
        for _ in range(40):
            write_atomically(
                path, lambda file: [file.write(content[n : n + 1000]) for n in range(0, 40_000, 1000)]
            )

    keep_writing(contents[0])
    threads = [threading.Thread(target=keep_writing, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        seen.add(path.read_bytes())
    for thread in threads:
        thread.join()
    assert seen <= set(contents)
    assert [one.name for one in tmp_path.iterdir()] == ["c.bin"]


# ---- JSON and tables


def test_json_comes_back_as_it_was_and_can_be_read_by_people(tmp_path):
    content = {"b": [1, 2.5, None], "a": {"ä": "ö\n"}}
    path = write_json(tmp_path / "x.json", content)
    assert read_json(path) == content
    assert list(read_json(path)) == ["b", "a"]
    assert path.read_text().startswith('{\n  "b": [\n')
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_with_a_number_that_json_does_not_know_is_refused_and_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": [1, value]})
    assert nothing_in(tmp_path)


def test_damaged_json_is_an_error_and_no_empty_answer(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1')
    with pytest.raises(json.JSONDecodeError):
        read_json(tmp_path / "x.json")


def test_the_home_folder_is_made_and_tried_and_left_empty(tmp_path):
    home = tmp_path / "a" / "home"
    assert prepare_home(home) == home
    assert nothing_in(home)
    assert prepare_home(home) == home


def test_a_file_in_the_place_of_the_home_folder_is_refused(tmp_path):
    (tmp_path / "home").write_text("")
    fix = "a file stands where a folder is needed: remove it, or name another --home DIR"
    refused(tmp_path / "home", fix, "File exists", lambda: prepare_home(tmp_path / "home"))
    below = tmp_path / "home" / "below"
    refused(below, fix, "Not a directory", lambda: prepare_home(below))
    refused(below / "x.json", fix, "Not a directory", lambda: write_json(below / "x.json", {}))


def test_a_folder_in_the_place_of_a_file_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "x.json" / "inside").mkdir(parents=True)
    fix = "a folder stands where a file is needed: remove it, or name another --home DIR"
    refused(tmp_path / "x.json", fix, "Is a directory", lambda: write_json(tmp_path / "x.json", {}))
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_home_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        fix = "make the folder writable for you, or name another one: --home DIR"
        refused(tmp_path, fix, "Permission denied", lambda: prepare_home(tmp_path))
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("kind", ["json", "table"])
def test_a_full_disk_is_refused_and_nothing_is_left(tiny_disk, kind):
    fix = "free some space, remove cached features (radtrain cache prune), or name another --home DIR"
    refused(tiny_disk / "x", fix, "No space left on device", lambda: write_large(tiny_disk / "x", kind))
    assert nothing_in(tiny_disk)


@pytest.mark.parametrize("kind", ["json", "table"])
def test_a_file_beyond_the_limit_of_the_process_is_refused_and_nothing_is_left(tmp_path, kind):
    fix = "the file may not become so large: raise `ulimit -f`, or name another --home DIR"
    with files_of_at_most(10_000):
        refused(tmp_path / "x", fix, "File too large", lambda: write_large(tmp_path / "x", kind))
    assert nothing_in(tmp_path)


@pytest.mark.parametrize("code", files._REMEDIES, ids=errno.errorcode.get)
def test_every_fault_of_a_disk_is_told_with_its_remedy(tmp_path, code):
    def write(file):
        raise OSError(code, os.strerror(code))

    assert files._REMEDIES[code].endswith("--home DIR")
    refused(
        tmp_path / "x",
        files._REMEDIES[code],
        os.strerror(code),
        lambda: write_atomically(tmp_path / "x", write),
    )
    assert nothing_in(tmp_path)


def test_a_fault_that_has_nothing_to_do_with_the_disk_is_not_called_one(tmp_path):
    with pytest.raises(ConnectionRefusedError), writing(tmp_path):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
