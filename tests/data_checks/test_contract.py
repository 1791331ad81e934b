"""The contract: the tables are what their readers rely on, and a column that is not here does not exist."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_checks.contract import FACTS, MANIFEST, SPLITS, TABLES, schema
from data_checks.images.image_facts import ImageFacts
from data_checks.reasons import EXCLUDED, UNREACHABLE, UNREADABLE


def test_the_facts_have_these_columns():
    assert [(c.name, str(c.type), c.nullable) for c in FACTS] == [
        ("path", "string", False),
        ("bytes", "int64", False),
        ("mtime_ns", "int64", False),
        ("sha256", "string", True),
        ("format", "string", True),
        ("width", "int32", True),
        ("height", "int32", True),
        ("mode", "string", True),
        ("bits", "int32", True),
        ("mean", "double", True),
        ("contrast", "double", True),
        ("black", "double", True),
        ("white", "double", True),
        ("border", "fixed_size_binary[8]", True),
        ("thumbnail", "fixed_size_binary[64]", True),
        ("phash", "fixed_size_binary[32]", True),
        ("patient", "string", True),
        ("unreadable", "string", True),
    ]


def test_the_manifest_has_these_columns():
    assert [(c.name, str(c.type), c.nullable) for c in MANIFEST] == [
        ("disease", "string", False),
        ("path", "string", False),
        ("image", "string", True),
        ("label", "int8", True),
        ("patient", "string", True),
        ("group", "string", True),
        ("split", "string", True),
        ("reason", "string", True),
    ]


@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_every_column_has_its_own_name_and_says_what_it_means(columns):
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.meaning for column in columns)


@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_the_schema_keeps_the_meaning_through_a_file(columns, tmp_path):
    made = schema(columns)
    assert made.names == [column.name for column in columns]
    pq.write_table(made.empty_table(), tmp_path / "t.parquet")
    read = pq.read_schema(tmp_path / "t.parquet")
    assert read.equals(made)
    for column in columns:
        assert read.field(column.name).metadata[b"meaning"].decode() == column.meaning


@pytest.mark.parametrize(
    ("columns", "name"), [(columns, c.name) for columns in TABLES.values() for c in columns if not c.nullable]
)
def test_what_may_not_be_empty_is_not_written_empty(columns, name, tmp_path):
    fields = schema(columns)
    table = pa.Table.from_pylist([{column.name: None for column in columns}], fields)
    with pytest.raises(pa.ArrowInvalid, match="declared non-nullable but contains nulls"):
        pq.write_table(table.select([name]), tmp_path / "t.parquet")


def test_the_facts_hold_everything_that_is_measured():
    measured = set(ImageFacts.__dataclass_fields__)
    assert measured == {column.name for column in FACTS} - {"path", "bytes", "mtime_ns"}


def test_no_code_means_two_things():
    tables = (EXCLUDED, UNREADABLE, UNREACHABLE)
    assert len({*EXCLUDED, *UNREADABLE, *UNREACHABLE}) == sum(len(table) for table in tables)


def test_the_splits_are_ordered_from_training_to_test():
    assert SPLITS == ("train", "validation", "test")
