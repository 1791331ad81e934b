"""The scan: every file has a row, each is read once, and nothing that is known is read again."""

import hashlib
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_checks.contract import FACTS, schema
from tasks.cache import BLOCK_ROWS, SpaceKey
from tasks.core.errors import StorageError
from tasks.core.pixels import shrink
from tasks.progress import listening
from tasks.scan_images import Scan, scan_images
from tasks.store import facts_path, read_table, write_table
from tests.data_checks.dicom_files import dicom

SIDE = 8


class Place:
    """A data root and a home folder; `scan` runs the stage on them."""

    def __init__(self, folder):
        self.root, self.home = folder / "root", folder / "home"
        (self.root / "a").mkdir(parents=True)
        self.facts = facts_path(self.home, self.root)
        self.pixels = SpaceKey(self.home / "cache" / "pixels", (("side", SIDE),), (SIDE, SIDE), "uint8")
        self.features = SpaceKey(self.home / "cache" / "features", (("b", 1),), (3,), "float32")

    def scan(self, *folders) -> Scan:
        return scan_images.fn(self.root, folders or ("a",), self.facts, self.pixels, self.features)

    def image(self, name, seed=0, *, folder="a"):
        path = self.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(gray(seed)).save(path, "PNG", compress_level=0)
        return path

    def rows(self):
        return {row["path"]: row for row in read_table(self.facts).to_pylist()}

    def reasons(self):
        return {path: row["unreadable"] for path, row in self.rows().items()}


def gray(seed):
    return np.random.default_rng(seed).integers(0, 256, (12, 10), dtype=np.uint8)


def counts(scan):
    """Return how many files there are, were read now, and cannot be read."""
    return scan.files, scan.read, scan.unreadable


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


# ---- one row per file


def test_every_file_has_one_row_in_path_order_that_fits_the_contract(place):
    paths = [place.image(f"{n}.png", n) for n in (2, 0, 1)]
    (place.root / "a" / "deep").mkdir()
    (place.root / "a" / "deep" / "notes.txt").write_text("no image")
    assert counts(place.scan()) == (4, 4, 1)
    table = read_table(place.facts)
    assert table.schema.equals(schema(FACTS))
    assert table["path"].to_pylist() == ["a/0.png", "a/1.png", "a/2.png", "a/deep/notes.txt"]
    row = place.rows()["a/2.png"]
    state = paths[0].stat()
    assert (row["bytes"], row["mtime_ns"], row["sha256"]) == (
        state.st_size,
        state.st_mtime_ns,
        digest(paths[0]),
    )
    assert (row["format"], row["width"], row["height"], row["mode"]) == ("PNG", 10, 12, "L")
    assert row["mean"] == pytest.approx(gray(2).mean())
    assert (len(row["phash"]), len(row["thumbnail"]), len(row["border"])) == (32, 64, 8)
    assert row["unreadable"] is None


def test_a_scan_of_nothing_writes_an_empty_table(place):
    assert counts(place.scan()) == (0, 0, 0)
    assert read_table(place.facts).num_rows == 0


def test_a_file_below_two_of_the_folders_has_one_row(place):
    place.image("1.png", folder="a/b")
    assert place.scan("a", "a/b", "a").files == 1


def test_names_of_every_kind_come_through_the_facts(place):
    names = ["two words.png", "ä:日本.png", "line\nbreak.png", " .png"]
    for n, name in enumerate(names):
        place.image(name, n)
    place.scan()
    assert set(place.rows()) == {f"a/{name}" for name in names}
    assert set(place.reasons().values()) == {None}


# ---- nothing is read twice


def test_a_second_scan_reads_nothing_and_changes_nothing(place):
    for n in range(5):
        place.image(f"{n}.png", n)
    (place.root / "a" / "text").write_text("no image")
    first = place.scan()
    before = place.rows()
    os.utime(place.root / "a", (1, 1))
    assert counts(place.scan()) == (6, 0, 1)
    assert place.rows() == before
    assert first.read == 6


def test_a_second_scan_opens_no_file(place):
    path = place.image("1.png")
    place.scan()
    state = path.stat()
    path.write_bytes(b"?" * state.st_size)  # other bytes under the same size and time are not looked at
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert place.scan().read == 0
    assert place.reasons() == {"a/1.png": None}


def test_a_changed_file_is_read_again_and_no_other(place):
    for n in range(3):
        place.image(f"{n}.png", n)
    place.scan()
    before = place.rows()
    place.image("1.png", 99)
    os.utime(place.root / "a" / "1.png", (5, 5))
    assert place.scan().read == 1
    after = place.rows()
    assert after["a/1.png"]["sha256"] == digest(place.root / "a" / "1.png") != before["a/1.png"]["sha256"]
    assert {k: v for k, v in after.items() if k != "a/1.png"} == {
        k: v for k, v in before.items() if k != "a/1.png"
    }


def test_a_file_that_only_its_time_tells_from_before_is_read_again(place):
    path = place.image("1.png")
    place.scan()
    os.utime(path, ns=(7, 7))
    assert place.scan().read == 1
    assert place.rows()["a/1.png"]["mtime_ns"] == 7


def test_new_files_are_read_and_vanished_ones_forgotten(place):
    place.image("1.png", 1).unlink() or place.image("2.png", 2)
    place.scan()
    (place.root / "a" / "2.png").unlink()
    place.image("3.png", 3)
    assert counts(place.scan()) == (1, 1, 0)
    assert set(place.rows()) == {"a/3.png"}


def test_a_scan_of_one_disease_keeps_the_facts_of_the_others(place):
    place.image("1.png", 1)
    place.image("2.png", 2, folder="b")
    place.image("3.png", 3, folder="ab")  # its name begins like the other's
    place.scan("a", "b", "ab")
    (place.root / "a" / "1.png").unlink()
    assert counts(place.scan("a")) == (0, 0, 0)
    assert set(place.rows()) == {"b/2.png", "ab/3.png"}
    assert place.scan("a", "b", "ab").read == 0


def test_what_was_measured_before_a_scan_was_stopped_is_not_measured_again(place):
    for n in range(70):
        place.image(f"{n:02d}.png", n)

    def stop(stage, done, total):
        if done < total:
            raise KeyboardInterrupt

    with listening(stop), pytest.raises(KeyboardInterrupt):
        place.scan()
    assert len(place.rows()) == 64
    assert counts(place.scan()) == (70, 6, 0)
    assert len(place.rows()) == 70


def test_a_stopped_scan_keeps_the_facts_of_other_diseases_and_of_unchanged_files(place):
    place.image("other.png", 1, folder="b")
    place.image("kept.png", 2)
    place.scan("a", "b")
    for n in range(70):
        place.image(f"new{n:02d}.png", n + 10)

    def stop(stage, done, total):
        raise KeyboardInterrupt

    with listening(stop), pytest.raises(KeyboardInterrupt):
        place.scan("a")
    assert len(place.rows()) == 2 + 64
    assert place.scan("a", "b").read == 6


# ---- damaged facts


def damaged(kind, path):
    content = path.read_bytes()
    if kind == "a flipped bit":
        column = pq.read_metadata(path).row_group(0).column(0)
        changed = bytearray(content)
        changed[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 1
        path.write_bytes(changed)
    elif kind == "other columns":
        table = read_table(path)
        write_table(path, table.drop_columns(["phash"]))
    elif kind == "other types":
        table = read_table(path)
        fields = [f.with_type(pa.int64()) if f.name == "width" else f for f in table.schema]
        pq.write_table(table.cast(pa.schema(fields)), path)
    else:
        path.write_bytes(
            {"empty": b"", "garbage": b"garbage" * 99, "cut": content[: len(content) // 2]}[kind]
        )


@pytest.mark.parametrize("kind", ["a flipped bit", "empty", "garbage", "cut", "other columns", "other types"])
def test_facts_that_are_damaged_or_of_another_version_are_measured_anew(place, kind):
    for n in range(3):
        place.image(f"{n}.png", n)
    place.scan()
    before = place.rows()
    damaged(kind, place.facts)
    assert place.scan().read == 3
    assert place.rows() == before


def test_no_flipped_bit_of_the_facts_gives_other_facts_or_an_exception(place):
    for n in range(2):
        place.image(f"{n}.png", n)
    place.scan()
    before, whole = place.rows(), place.facts.read_bytes()
    for number in range(7, len(whole), 97):
        changed = bytearray(whole)
        changed[number] ^= 1 << number % 8
        place.facts.write_bytes(changed)
        place.scan()
        assert place.rows() == before


# ---- what cannot be read


def test_every_file_that_cannot_be_read_has_its_reason(place):
    folder = place.root / "a"
    whole = place.image("good.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[:-40])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_bytes(b"hello world, no image")
    (folder / "lfs.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (folder / "report.dcm").write_bytes(bytes(128) + b"DICM\x08\0\x60\0CS\x02\0SR")
    (folder / "all.png").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "._good.png").write_bytes(whole)
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "out.png").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe")
    assert counts(place.scan()) == (11, 7, 10)
    assert place.reasons() == {
        "a/good.png": None,
        "a/cut.png": "truncated",
        "a/empty.png": "empty_file",
        "a/text.png": "not_an_image",
        "a/lfs.png": "git_lfs_pointer",
        "a/report.dcm": "no_pixels",
        "a/all.png": "archive",
        "a/._good.png": "sidecar",
        "a/gone.png": "broken_link",
        "a/out.png": "outside_root",
        "a/pipe": "not_a_file",
    }
    assert counts(place.scan()) == (11, 0, 10)


def test_notes_of_an_operating_system_are_never_read_and_their_rows_stay(place):
    whole = place.image("1.png").read_bytes()
    (place.root / "a" / "__MACOSX").mkdir()
    names = {"._1.png", ".DS_Store", "__MACOSX/2.png", "1.png:Zone.Identifier"}
    for name in names:
        (place.root / "a" / name).write_bytes(whole)
    assert counts(place.scan()) == (5, 1, 4)
    before = place.rows()
    for name in names:
        row = before[f"a/{name}"]
        assert (row["unreadable"], row["sha256"], row["bytes"]) == ("sidecar", None, len(whole))
    said = []
    with listening(lambda *words: said.append(words)):
        assert counts(place.scan()) == (5, 0, 4)
    assert said == []  # nothing had changed
    assert place.rows() == before


def test_a_dicom_file_has_the_facts_of_its_picture_whatever_its_name(place):
    values = gray(1)
    for name, options in (("1.dcm", {}), ("no ending", {"how": "JPEG Lossless"})):
        (place.root / "a" / name).write_bytes(dicom(values, PatientID="4711", **options))
    assert counts(place.scan()) == (2, 2, 0)
    for row in place.rows().values():
        assert (row["format"], row["mode"], row["bits"]) == ("DICOM", "MONOCHROME2", 8)
        assert row["patient"] == hashlib.sha256(b"|4711").hexdigest()[:16]
        np.testing.assert_array_equal(place.pixels.open().read([row["sha256"]])[0], shrink(values, SIDE))
    assert place.scan().read == 0


def test_what_could_not_be_reached_is_tried_again_and_what_was_broken_is_not(place):
    (place.root / "a" / "later.png").symlink_to("2.png")
    (place.root / "a" / "text.png").write_bytes(b"no image")
    place.scan()
    place.image("2.png")
    assert place.scan().read == 2  # the file, and the link that leads to it now
    assert place.reasons() == {"a/2.png": None, "a/later.png": None, "a/text.png": "not_an_image"}


@pytest.mark.parametrize(("reason", "read"), [("permission_denied", 1), ("read_error", 1), ("truncated", 0)])
def test_a_file_that_could_not_be_opened_is_tried_again_though_nothing_about_it_changed(place, reason, read):
    place.image("1.png")
    place.scan()
    row = {**place.rows()["a/1.png"], "unreadable": reason}
    write_table(place.facts, pa.Table.from_pylist([row], schema(FACTS)))
    assert place.scan().read == read
    assert place.reasons() == {"a/1.png": None if read else reason}


def test_a_class_folder_that_could_not_be_listed_is_forgotten_once_it_can(place):
    (place.root / "b").write_text("a file where a folder was")
    place.scan("a", "b")
    assert place.reasons() == {"b": "read_error"}
    (place.root / "b").unlink()
    place.image("1.png", folder="b")
    place.scan("a", "b")
    assert place.reasons() == {"b/1.png": None}


# ---- pixels


def test_the_pixels_of_every_distinct_image_are_cached_once(place):
    paths = [place.image(f"{n}.png", n % 2) for n in range(6)]
    place.scan()
    space = place.pixels.open()
    images = [digest(path) for path in paths[:2]]
    assert len(space) == 2
    assert sum(len(np.load(path)) for path in space.folder.glob("*.block")) == 2
    np.testing.assert_array_equal(space.read(images), [shrink(gray(0), SIDE), shrink(gray(1), SIDE)])


def test_a_scan_that_reads_an_image_again_puts_no_second_row(place):
    path = place.image("1.png", 1)
    place.image("2.png", 2)
    place.scan()
    before = sorted(place.pixels.open().folder.iterdir())
    os.utime(path, (9, 9))
    shutil.copy(path, place.root / "a" / "copy.png")
    assert place.scan().read == 2
    assert sorted(place.pixels.open().folder.iterdir()) == before


def test_images_that_have_features_need_no_pixels(place):
    paths = [place.image(f"{n}.png", n) for n in range(3)]
    place.features.open().put([digest(paths[1])], np.zeros((1, 3), np.float32))
    place.scan()
    space = place.pixels.open()
    assert [digest(path) in space for path in paths] == [True, False, True]


def test_broken_images_have_no_pixels(place):
    place.image("1.png").write_bytes(b"no image")
    place.scan()
    assert len(place.pixels.open()) == 0


def test_more_images_than_fit_in_a_block_are_all_cached(place):
    n = BLOCK_ROWS + 5
    images = []
    for number in range(n):  # PGM: the fastest to write and to read
        path = place.root / "a" / f"{number}.pgm"
        path.write_bytes(b"P5 16 16 255\n" + number.to_bytes(2, "big") + bytes(range(254)))
        images.append(digest(path))
    assert counts(place.scan()) == (n, n, 0)
    space = place.pixels.open()
    assert space.missing(images) == []
    assert len(list(space.folder.glob("*.block"))) == 2


def test_the_scan_says_how_far_it_is_up_to_the_end(place):
    for n in range(66):
        place.image(f"{n}.png", n)
    said = []
    with listening(lambda *words: said.append(words)):
        place.scan()
        place.scan()
    assert said == [("scan", 64, 66), ("scan", 66, 66)]


def test_a_home_folder_that_cannot_be_written_is_a_storage_error(place):
    place.image("1.png")
    place.home.write_text("a file where a folder is needed")
    with pytest.raises(StorageError, match="a file stands where a folder is needed: remove it") as caught:
        place.scan()
    assert caught.value.exit_code == 15
