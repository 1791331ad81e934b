"""The cache: rows come back as they were put, damage costs the damaged rows only, and writers do not meet."""

import dataclasses
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.cache import BLOCK_ROWS, SpaceKey, list_spaces, prune
from tasks.core.errors import StorageError

SHAPE = (3, 2)


def key_in(folder, *, shape=SHAPE, dtype="float32", **describes):
    return SpaceKey(
        folder / "cache" / "features", tuple({"backbone": "b", **describes}.items()), shape, dtype
    )


def images(n, start=0):
    return [f"{number:064x}" for number in range(start, start + n)]


def rows(n, start=0, *, shape=SHAPE, dtype="float32"):
    """Rows of which each is told by its number, and none equals another."""
    size = int(np.prod(shape))
    return (np.arange(n * size).reshape(n, *shape) + start * size).astype(dtype)


def filled(folder, n=6, start=0):
    space = key_in(folder).open()
    space.put(images(n, start), rows(n, start))
    return space


def blocks(space):
    return sorted(space.folder.glob("*.block"))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def place_of(path, row):
    """Where a row begins in its block."""
    content = path.read_bytes()
    found = content.find(row.tobytes())
    assert found > 0
    assert content.count(row.tobytes()) == 1
    return found


def left_over(space):
    return [one.name for one in space.folder.iterdir() if one.suffix not in (".block", ".json")]


# ---- round trip


@pytest.mark.parametrize(
    ("shape", "dtype"), [((5,), "float32"), ((4, 4), "uint8"), ((2, 3, 1), "float16"), ((), "int64")]
)
def test_rows_come_back_as_they_were_put_in_any_order(tmp_path, shape, dtype):
    key = key_in(tmp_path, shape=shape, dtype=dtype)
    put = rows(7, shape=shape, dtype=dtype)
    key.open().put(images(7), put)
    for space in (key.open(), key.open()):
        order = [6, 0, 3, 3]
        read = space.read([images(7)[n] for n in order])
        np.testing.assert_array_equal(read, put[order])
        assert read.dtype == np.dtype(dtype)
        assert len(space) == 7
        assert space.missing(images(7)) == []


def test_rows_are_kept_in_blocks_of_a_fixed_size(tmp_path):
    space = filled(tmp_path, n=2 * BLOCK_ROWS + 1)
    assert len(blocks(space)) == 3
    assert len(space) == 2 * BLOCK_ROWS + 1
    np.testing.assert_array_equal(
        key_in(tmp_path).open().read(images(2 * BLOCK_ROWS + 1)), rows(2 * BLOCK_ROWS + 1)
    )


def test_no_rows_make_no_block(tmp_path):
    space = filled(tmp_path, n=0)
    assert blocks(space) == []
    assert space.read([]).shape == (0, *SHAPE)
    assert space.missing([]) == []


def test_rows_of_every_memory_layout_come_back(tmp_path):
    space = key_in(tmp_path).open()
    put = np.asfortranarray(rows(4))
    space.put(images(4), put[::-1])
    np.testing.assert_array_equal(space.read(images(4)), put[::-1])


def test_membership_and_missing_tell_what_is_there(tmp_path):
    space = filled(tmp_path, n=3)
    assert images(1)[0] in space
    assert images(1, 3)[0] not in space
    assert space.missing(images(5)) == images(2, 3)


def test_a_row_that_is_put_again_is_the_one_that_is_read(tmp_path):
    space = filled(tmp_path, n=3)
    space.put(images(3), rows(3, 50))
    space.put(images(1), rows(1, 90))
    np.testing.assert_array_equal(space.read(images(3)), [rows(1, 90)[0], rows(1, 51)[0], rows(1, 52)[0]])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), max_size=6))
def test_any_sequence_of_puts_is_found_again(tmp_path_factory, puts):
    folder = tmp_path_factory.mktemp("cache")
    space = key_in(folder).open()
    for start, n in puts:
        space.put(images(n, start), rows(n, start))
    there = sorted({number for start, n in puts for number in range(start, start + n)})
    for one in (space, key_in(folder).open()):
        assert len(one) == len(there)
        wanted = [images(1, number)[0] for number in there]
        assert one.missing(wanted) == []
        np.testing.assert_array_equal(one.read(wanted), rows(60)[there])


# ---- wrong use


@pytest.mark.parametrize(
    ("given_rows", "received"),
    [
        (rows(3), r"\(3, 3, 2\) float32"),
        (rows(2).reshape(2, 6), r"\(2, 6\) float32"),
        (rows(2, dtype="float64"), r"\(2, 3, 2\) float64"),
    ],
)
def test_rows_of_another_shape_or_type_are_refused_and_not_written(tmp_path, given_rows, received):
    space = filled(tmp_path, n=0)
    with pytest.raises(ValueError, match=rf"Expected rows \(2, 3, 2\) float32\. Received: {received}"):
        space.put(images(2), given_rows)
    assert blocks(space) == []


def test_a_row_that_is_not_there_is_an_error_that_says_to_run_again(tmp_path):
    space = filled(tmp_path, n=2)
    with pytest.raises(StorageError) as caught:
        space.read(["ab" * 32])
    assert str(caught.value) == (
        "A cached row is missing or damaged.\n"
        f"  where:    {space.folder}\n"
        "  expected: a sound row for image abababababab\n"
        "  received: none\n"
        "  fix:      run the same command again: damaged rows are computed anew"
    )
    assert caught.value.exit_code == 15


# ---- the name of a space


CHANGES = [
    {"shape": (2, 3)}, {"shape": (3,)}, {"dtype": "float16"}, {"backbone": "c"}, {"weights": "w"}, {"side": 64},
]  # fmt: skip


def test_the_digest_depends_on_every_field(tmp_path):
    digests = [key_in(tmp_path).digest(), *(key_in(tmp_path, **change).digest() for change in CHANGES)]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 16 for digest in digests)


def test_the_digest_knows_neither_the_order_of_names_nor_the_folder(tmp_path):
    one = SpaceKey(tmp_path, (("a", 1), ("b", 2)), SHAPE, "float32")
    other = SpaceKey(tmp_path / "elsewhere", (("b", 2), ("a", 1)), SHAPE, "float32")
    assert one.digest() == other.digest()


def test_two_spaces_do_not_see_each_others_rows(tmp_path):
    filled(tmp_path)
    assert key_in(tmp_path, backbone="c").open().missing(images(6)) == images(6)


def test_a_key_opens_the_same_space_in_another_process(tmp_path):
    filled(tmp_path, n=3)
    key = key_in(tmp_path)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        read = pool.apply(_read, (key, images(3)))
    np.testing.assert_array_equal(read, rows(3))
    assert dataclasses.replace(key) == key


def _read(key, wanted):
    return key.open().read(wanted)


# ---- damage


def test_a_flipped_byte_costs_its_row_only(tmp_path):
    space = filled(tmp_path)
    (path,) = blocks(space)
    flip(path, place_of(path, rows(1, 2)))
    for one in (space, key_in(tmp_path).open()):
        assert one.missing(images(6)) == images(1, 2)
        others = images(2) + images(3, 3)
        np.testing.assert_array_equal(one.read(others), np.concatenate([rows(2), rows(3, 3)]))
        assert len(one) == 5
    space.put(images(1, 2), rows(1, 2))
    again = key_in(tmp_path).open()
    assert again.missing(images(6)) == []
    np.testing.assert_array_equal(again.read(images(6)), rows(6))


def test_a_flipped_byte_in_a_key_gives_no_image_anothers_row(tmp_path):
    space = filled(tmp_path)
    (path,) = blocks(space)
    flip(path, place_of(path, np.frombuffer(bytes.fromhex(images(1, 2)[0]), np.uint8)) + 5)
    again = key_in(tmp_path).open()
    assert again.missing(images(6)) == images(1, 2)
    np.testing.assert_array_equal(again.read(images(2)), rows(2))
    assert len(again) == 5


def test_two_rows_that_are_exchanged_are_both_missing(tmp_path):
    space = filled(tmp_path)
    (path,) = blocks(space)
    content = path.read_bytes()
    one, other = rows(1, 1).tobytes(), rows(1, 4).tobytes()
    path.write_bytes(
        content.replace(one, b"?" * len(one)).replace(other, one).replace(b"?" * len(one), other)
    )
    assert key_in(tmp_path).open().missing(images(6)) == [images(6)[1], images(6)[4]]


def test_a_row_damaged_after_it_was_checked_is_never_returned(tmp_path):
    space = filled(tmp_path)
    assert space.missing(images(6)) == []
    (path,) = blocks(space)
    flip(path, place_of(path, rows(1, 2)))
    with pytest.raises(StorageError, match="received: a wrong checksum"):
        space.read(images(6))
    np.testing.assert_array_equal(space.read(images(2)), rows(2))


def test_a_block_in_which_every_row_is_damaged_is_removed(tmp_path):
    space = filled(tmp_path, n=2)
    (path,) = blocks(space)
    for n in range(2):
        flip(path, place_of(path, rows(1, n)))
    assert space.missing(images(2)) == images(2)
    assert blocks(space) == []


def test_damage_in_one_block_leaves_the_others_alone(tmp_path):
    space = filled(tmp_path)
    filled(tmp_path, n=4, start=10)
    space.refresh()
    (bad,) = (path for path in blocks(space) if rows(1, 11).tobytes() in path.read_bytes())
    kept = [path for path in blocks(space) if path != bad]
    flip(bad, place_of(bad, rows(1, 11)))
    assert space.missing(images(6) + images(4, 10)) == images(1, 11)
    assert set(kept) < set(blocks(space))


@pytest.mark.parametrize("only_in_damaged", [0, 3])
def test_a_row_that_stands_in_two_blocks_survives_the_damage_of_one(tmp_path, only_in_damaged):
    space = filled(tmp_path, n=3)
    space.put(images(3, 1), rows(3, 1))
    damaged = next(path for path in blocks(space) if rows(1, only_in_damaged).tobytes() in path.read_bytes())
    flip(damaged, place_of(damaged, rows(1, 1)))
    assert space.missing(images(4)) == []
    assert key_in(tmp_path).open().missing(images(4)) == []


@pytest.mark.parametrize("keep", [0, 1, 40, 128, 200, 300, -1])
def test_a_truncated_block_is_dropped_and_its_rows_are_missing(tmp_path, keep):
    space = filled(tmp_path)
    filled(tmp_path, n=2, start=20)
    path = next(path for path in blocks(space) if rows(1, 0).tobytes() in path.read_bytes())
    path.write_bytes(path.read_bytes()[:keep])
    again = key_in(tmp_path).open()
    assert not path.exists()
    assert again.missing(images(6) + images(2, 20)) == images(6)
    assert space.missing(images(6)) == images(6)  # whoever had it open notices as well


@pytest.mark.parametrize(
    "garbage", [b"", b"garbage", b"\x93NUMPY", bytes(5000), b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 70_000]
)
def test_a_block_of_garbage_is_dropped(tmp_path, garbage):
    space = filled(tmp_path)
    (space.folder / "aaaa.block").write_bytes(garbage)
    again = key_in(tmp_path).open()
    assert not (space.folder / "aaaa.block").exists()
    np.testing.assert_array_equal(again.read(images(6)), rows(6))


@pytest.mark.parametrize("change", [{"shape": (2, 3)}, {"dtype": "int32"}, {"shape": (3, 2, 1)}])
def test_a_block_of_another_shape_or_type_is_dropped(tmp_path, change):
    other = key_in(tmp_path, **change).open()
    n = 4
    other.put(images(n), rows(n, shape=change.get("shape", SHAPE), dtype=change.get("dtype", "float32")))
    space = key_in(tmp_path).open()
    shutil.copy(blocks(other)[0], space.folder / "other.block")
    space.refresh()
    assert len(space) == 0
    assert blocks(space) == []


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_damage_of_a_block_raises_or_gives_a_wrong_row(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cache")
    space = filled(folder, n=3)
    (path,) = blocks(space)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    again = key_in(folder).open()
    gone = again.missing(images(3))
    sound = [n for n, image in enumerate(images(3)) if image not in gone]
    np.testing.assert_array_equal(again.read([images(3)[n] for n in sound]), rows(3)[sound])


# ---- several writers


def test_two_writers_of_the_same_block_leave_one_sound_block(tmp_path):
    one, other = key_in(tmp_path).open(), key_in(tmp_path).open()
    one.put(images(5), rows(5))
    other.put(images(5), rows(5))
    assert len(blocks(one)) == 1
    for space in (one, other, key_in(tmp_path).open()):
        assert space.missing(images(5)) == []
        np.testing.assert_array_equal(space.read(images(5)), rows(5))


def test_many_processes_that_write_the_same_and_other_rows_lose_none(tmp_path):
    key = key_in(tmp_path)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.starmap(_put, [(key, start) for start in (0, 3, 6, 0, 3, 6, 4, 8)])
    space = key.open()
    assert space.missing(images(13)) == []
    np.testing.assert_array_equal(space.read(images(13)), rows(13))
    assert left_over(space) == []


def _put(key, start):
    key.open().put(images(5, start), rows(5, start))


def test_refresh_sees_a_block_that_another_process_wrote(tmp_path):
    space = filled(tmp_path, n=2)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply(_put, (key_in(tmp_path), 10))
    assert images(1, 10)[0] not in space
    space.refresh()
    np.testing.assert_array_equal(space.read(images(5, 10)), rows(5, 10))


def test_a_block_that_another_process_removed_is_missing_and_no_crash(tmp_path):
    space = filled(tmp_path, n=2)
    filled(tmp_path, n=2, start=10)
    space.refresh()
    next(path for path in blocks(space) if rows(1, 0).tobytes() in path.read_bytes()).unlink()
    with pytest.raises(StorageError, match="received: no block"):
        space.read(images(2))
    assert space.missing(images(2) + images(2, 10)) == images(2)
    space.put(images(2), rows(2))
    np.testing.assert_array_equal(space.read(images(2)), rows(2))


def test_a_block_that_another_process_mended_is_found_again(tmp_path):
    space, other = filled(tmp_path), key_in(tmp_path).open()
    (path,) = blocks(space)
    flip(path, place_of(path, rows(1, 2)))
    assert other.missing(images(6)) == images(1, 2)
    other.put(images(1, 2), rows(1, 2))
    assert space.missing(images(6)) == []
    np.testing.assert_array_equal(space.read(images(6)), rows(6))


def test_a_space_with_more_blocks_than_a_process_may_open_files_is_read(tmp_path):
    space = key_in(tmp_path, shape=(1,)).open()
    n = 1101
    for number in range(n):
        space.put(images(1, number), rows(1, number, shape=(1,)))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, before[1]))
    try:
        again = key_in(tmp_path, shape=(1,)).open()
        assert len(again) == n == len(blocks(again))
        assert again.missing(images(n)) == []
        np.testing.assert_array_equal(again.read(images(n)), rows(n, shape=(1,)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# ---- a full disk


def test_a_full_disk_is_an_error_with_a_remedy_and_nothing_is_half_written(tiny_disk):
    space = filled(tiny_disk, n=3)
    with pytest.raises(StorageError) as caught:
        space.put(images(4000, 10), np.resize(rows(1), (4000, *SHAPE)))
    said = str(caught.value)
    assert said.startswith(f"radtrain cannot write to its home folder.\n  where:    {space.folder}/")
    assert said.endswith(
        "  received: No space left on device\n"
        "  fix:      free some space, remove cached features (radtrain cache prune), or name another --home DIR"
    )
    assert left_over(space) == []
    again = key_in(tiny_disk).open()
    np.testing.assert_array_equal(again.read(images(3)), rows(3))
    # What was put before the disk was full is kept, in whole blocks.
    assert (len(again) - 3) % BLOCK_ROWS == 0
    assert len(again) == len(space) > 3


def test_a_block_beyond_the_limit_of_the_process_is_an_error_and_nothing_is_half_written(tmp_path):
    space = filled(tmp_path, n=3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(
            StorageError, match=r"received: File too large\n  fix: +the file may not become so large"
        ):
            space.put(images(400, 10), np.resize(rows(1), (400, *SHAPE)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left_over(space) == []
    assert len(blocks(space)) == 1
    assert space.missing(images(400, 10)) == images(400, 10)


def test_a_process_that_is_killed_in_the_middle_of_writing_leaves_no_block(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom tasks.store import write_atomically\n"
        "def half(file):\n    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)\n"
        "write_atomically(Path(sys.argv[1]), half)\n"
    )
    space = filled(tmp_path, n=2)
    done = subprocess.run([sys.executable, "-c", code, space.folder / "new.block"], check=False)
    assert done.returncode == -9
    again = key_in(tmp_path).open()
    assert len(blocks(again)) == 1
    np.testing.assert_array_equal(again.read(images(2)), rows(2))


def test_a_file_in_the_place_of_the_cache_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(StorageError, match="a file stands where a folder is needed: remove it"):
        key_in(tmp_path).open()


# ---- list and prune


def grown_old(space, days):
    then = time.time() - days * 86_400
    os.utime(space.folder / "space.json", (then, then))


def test_every_space_is_listed_with_what_it_holds(tmp_path):
    space = filled(tmp_path, n=BLOCK_ROWS + 3)
    SpaceKey(tmp_path / "cache" / "pixels", (("side", 32),), (32, 32), "uint8").open()
    features, pixels = list_spaces(tmp_path / "cache")
    assert (features.kind, pixels.kind) == ("features", "pixels")
    assert (features.rows, pixels.rows) == (BLOCK_ROWS + 3, 0)
    assert features.digest == key_in(tmp_path).digest()
    assert features.describes == {"backbone": "b", "shape": [3, 2], "dtype": "float32"}
    assert features.bytes == sum(path.stat().st_size for path in blocks(space))
    assert 0 <= features.idle_days < 1


def test_a_cache_that_is_not_there_is_empty(tmp_path):
    assert list(list_spaces(tmp_path / "cache")) == []
    assert prune(tmp_path / "cache") == []


def test_damage_does_not_keep_a_space_from_being_listed_and_pruned(tmp_path):
    space = filled(tmp_path, n=2)
    (space.folder / "bad.block").write_bytes(b"garbage")
    (space.folder / "space.json").write_text("{")
    (use,) = list_spaces(tmp_path / "cache")
    assert (use.rows, use.describes) == (2, {"damaged": "space.json"})
    assert [gone.digest for gone in prune(tmp_path / "cache")] == [use.digest]
    assert not space.folder.exists()


def test_pruning_by_age_removes_only_what_was_not_used_for_so_long(tmp_path):
    old, new = filled(tmp_path), key_in(tmp_path, backbone="new").open()
    grown_old(old, 31)
    grown_old(new, 29)
    gone = prune(tmp_path / "cache", idle_days=30)
    assert [(use.digest, use.rows, int(use.idle_days)) for use in gone] == [
        (key_in(tmp_path).digest(), 6, 31)
    ]
    assert not old.folder.exists()
    assert new.folder.exists()


def test_opening_a_space_is_using_it(tmp_path):
    space = filled(tmp_path)
    grown_old(space, 31)
    assert len(key_in(tmp_path).open()) == 6
    assert prune(tmp_path / "cache", idle_days=30) == []


def test_pruning_by_id_removes_only_that_space_however_new_it_is(tmp_path):
    one, other = filled(tmp_path), key_in(tmp_path, backbone="c").open()
    grown_old(other, 400)
    gone = prune(tmp_path / "cache", digests=[key_in(tmp_path).digest()])
    assert [use.digest for use in gone] == [key_in(tmp_path).digest()]
    assert not one.folder.exists()
    assert other.folder.exists()


def test_pruning_without_a_limit_removes_everything(tmp_path):
    filled(tmp_path)
    key_in(tmp_path, backbone="c").open()
    assert len(prune(tmp_path / "cache")) == 2
    assert list(list_spaces(tmp_path / "cache")) == []


def test_a_pruned_space_is_made_anew_when_it_is_opened(tmp_path):
    filled(tmp_path)
    prune(tmp_path / "cache")
    space = key_in(tmp_path).open()
    assert space.missing(images(6)) == images(6)
    space.put(images(6), rows(6))
    assert [use.rows for use in list_spaces(tmp_path / "cache")] == [6]


def test_the_clock_of_another_machine_gives_no_negative_age(tmp_path):
    grown_old(filled(tmp_path), -5)
    (use,) = list_spaces(tmp_path / "cache")
    assert use.idle_days == 0.0


def test_a_space_says_in_json_what_its_rows_depend_on(tmp_path):
    space = filled(tmp_path)
    assert Path(space.folder).name == key_in(tmp_path).digest()
    assert '"backbone": "b"' in (space.folder / "space.json").read_text()
