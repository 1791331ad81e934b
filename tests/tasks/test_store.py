"""The home folder: checksums, only the rows asked for, and a place for each kind of file."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from data_checks.contract import MANIFEST, schema
from tasks.store import (
    disease_folder,
    facts_path,
    image_paths,
    ledger_path,
    manifest_path,
    read_rows,
    read_table,
    write_table,
)


def test_a_table_comes_back_as_it_was_with_its_schema(tmp_path):
    rows = [{"disease": "d", "path": "a", "label": 1}, {"disease": "d", "path": "b", "label": None}]
    table = pa.Table.from_pylist(rows, schema(MANIFEST))
    write_table(tmp_path / "t.parquet", table)
    read = read_table(tmp_path / "t.parquet")
    assert read.equals(table)
    assert read.schema.field("path").metadata == table.schema.field("path").metadata
    assert read_table(tmp_path / "t.parquet", ["path"]).to_pydict() == {"path": ["a", "b"]}


def test_a_flipped_bit_in_a_table_is_an_error_and_never_another_value(tmp_path):
    table = pa.table({"image": [f"{n:064x}" for n in range(20)], "n": list(range(20))})
    path = write_table(tmp_path / "t.parquet", table)
    whole = path.read_bytes()
    refused_flips = 0
    for place in range(4, len(whole) - 8, 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            read = read_table(path).to_pydict()
        except (pa.ArrowException, ValueError, OSError):
            refused_flips += 1
        else:
            # Some bits mean nothing to a reader; names of columns are seen by whoever asks for one.
            assert set(read) != {"image", "n"} or read == table.to_pydict()
    assert refused_flips > 100


# ---- the rows of a split


def manifest_of(tmp_path, rows):
    names = ("image", "label", "group", "split", "path", "reason")
    full = [{"disease": "d", "patient": None, **dict(zip(names, row, strict=True))} for row in rows]
    return write_table(tmp_path / "m.parquet", pa.Table.from_pylist(full, schema(MANIFEST)))


ROWS = [
    ("cc", 1, "g1", "train", "S/1", None),
    ("aa", 0, "g2", "train", "S/2", None),
    ("dd", 1, "g3", "test", "S/3", None),
    ("bb", 1, "g1", "train", "S/4", None),
    ("ee", 0, None, None, "S/5", "duplicate"),
    ("ff", None, "g4", None, "S/6", "label_unknown"),
    (None, 0, None, None, "S/7", "broken_link"),
]


def test_the_rows_of_a_split_come_in_the_order_of_their_images(tmp_path):
    rows = read_rows(manifest_of(tmp_path, ROWS), "train")
    assert rows.images == ["aa", "bb", "cc"]
    assert rows.groups == ["g2", "g1", "g1"]
    np.testing.assert_array_equal(rows.labels, [0, 1, 1])
    assert rows.labels.dtype == np.float32


def test_only_the_rows_of_the_split_asked_for_are_read(tmp_path):
    path = manifest_of(tmp_path, ROWS)
    assert read_rows(path, "test").images == ["dd"]
    empty = read_rows(path, "validation")
    assert (empty.images, empty.groups, empty.labels.shape) == ([], [], (0,))


def test_the_order_of_the_rows_does_not_depend_on_that_of_the_files(tmp_path):
    first = read_rows(manifest_of(tmp_path, ROWS), "train")
    second = read_rows(manifest_of(tmp_path, ROWS[::-1]), "train")
    assert (first.images, first.groups) == (second.images, second.groups)


def test_every_used_image_has_a_path_and_no_other(tmp_path):
    assert image_paths(manifest_of(tmp_path, ROWS)) == {"cc": "S/1", "aa": "S/2", "dd": "S/3", "bb": "S/4"}


# ---- where things are


def test_every_kind_of_file_has_its_own_place(tmp_path):
    assert (
        manifest_path(tmp_path, "d", "0123456789abcdef0123")
        == tmp_path / "manifests" / "d-0123456789abcdef.parquet"
    )
    assert ledger_path(tmp_path, "d", "abc") == tmp_path / "splits" / "d-abc.parquet"
    assert disease_folder(tmp_path, "run", "d") == tmp_path / "runs" / "run" / "d"


def test_the_facts_of_two_roots_are_kept_apart_and_do_not_tell_the_root(tmp_path):
    one, other = facts_path(tmp_path, tmp_path / "Miller_Ann"), facts_path(tmp_path, tmp_path / "b")
    assert one != other
    assert one.parent == other.parent == tmp_path / "facts"
    assert "Miller" not in one.name


def test_two_ways_to_one_root_lead_to_the_same_facts(tmp_path, monkeypatch):
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to("root")
    monkeypatch.chdir(tmp_path)
    ways = (tmp_path / "root", tmp_path / "link", Path("root"), tmp_path / "root" / ".." / "root")
    assert len({facts_path(tmp_path, way) for way in ways}) == 1


# ---- errors
