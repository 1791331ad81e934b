"""The stage of the manifest: what it writes, and the ledger that keeps every image in its split."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from data_checks.contract import FACTS, MANIFEST, SPLITS, schema
from tasks.build_manifest import build_manifest
from tasks.core.catalog import Disease, SplitRule
from tasks.core.errors import StorageError
from tasks.store import read_table, write_table


def disease(**changes):
    source = {"folder": "S", "negative": ["neg"], "positive": ["pos"], **changes.pop("source", {})}
    return Disease.model_validate({"title": "D", "sources": [source], **changes})


def fact(path, *, look=None, unreadable=None):
    row = {column.name: None for column in FACTS}
    digest = hashlib.sha256(f"look {path if look is None else look}".encode()).digest()
    row.update(path=path, bytes=1, mtime_ns=1, unreadable=unreadable)
    if unreadable is None:
        row.update(sha256=hashlib.sha256(path.encode()).hexdigest(), phash=digest)
    return row


def facts_of(tmp_path, rows):
    return write_table(tmp_path / "facts.parquet", pa.Table.from_pylist(rows, schema(FACTS)))


def many(n=120, *, prefix="", split=""):
    return [fact(f"S/{split}{('neg', 'pos')[i % 2]}/{prefix}{i}.png") for i in range(n)]


def build(tmp_path, rows, one=None, *, rule=None):
    facts = facts_of(tmp_path, rows)
    return build_manifest.fn(facts, {"d": one or disease()}, rule or SplitRule(), tmp_path / "home")["d"]


def splits_of(manifest):
    table = read_table(manifest.path)
    return {p: s for p, s in zip(table["path"].to_pylist(), table["split"].to_pylist(), strict=True) if s}


def test_the_file_is_named_by_all_that_decides_it_and_fits_the_contract(tmp_path):
    manifest = build(tmp_path, many())
    assert manifest.path == tmp_path / "home" / "manifests" / f"d-{manifest.key[:16]}.parquet"
    table = read_table(manifest.path)
    assert table.schema.equals(schema(MANIFEST))
    assert table["path"].to_pylist() == sorted(row["path"] for row in many())


def test_the_counts_are_those_of_the_file(tmp_path):
    manifest = build(tmp_path, [*many(), fact("S/neg/bad", unreadable="truncated")])
    table = read_table(manifest.path).to_pandas()
    assert manifest.files == len(table) == 121
    for split in SPLITS:
        inside = table[table["split"] == split]
        assert (manifest.counts[split], manifest.positives[split]) == (len(inside), inside["label"].sum())
    assert sum(manifest.counts.values()) == 120


def test_files_of_other_diseases_are_no_rows(tmp_path):
    others = [fact("S/negative/x"), fact("S/other/x"), fact("T/neg/x"), fact("S/neg.png")]
    assert build(tmp_path, [*many(), *others]).digest == build(tmp_path, many()).digest


def test_a_class_folder_that_cannot_be_listed_is_a_row_with_its_reason(tmp_path):
    broken = fact("S/pos", unreadable="permission_denied")
    manifest = build(tmp_path, [*(row for row in many() if "neg" in row["path"]), broken])
    rows = read_table(manifest.path).to_pylist()
    assert [(row["path"], row["reason"]) for row in rows if row["reason"]] == [("S/pos", "permission_denied")]


def test_the_same_facts_give_the_same_manifest_and_leave_the_ledger_alone(tmp_path):
    first = build(tmp_path, many())
    (ledger,) = (tmp_path / "home" / "splits").glob("*.parquet")
    before = (ledger.stat().st_mtime_ns, ledger.read_bytes())
    assert build(tmp_path, many()) == first
    assert (ledger.stat().st_mtime_ns, ledger.read_bytes()) == before


def test_images_that_come_later_move_none_that_were_there(tmp_path):
    first = splits_of(build(tmp_path, many()))
    # Each new image looks like an old one, which would draw half of the groups anew without the ledger.
    new = [fact(f"S/{('neg', 'pos')[i % 2]}/A{i}.png", look=many()[i]["path"]) for i in range(120)]
    second = splits_of(build(tmp_path, [*many(), *new]))
    assert {path: second[path] for path in first} == first
    assert all(second[one["path"]] == first[many()[i]["path"]] for i, one in enumerate(new))


def test_images_that_are_gone_for_a_while_come_back_to_their_split(tmp_path):
    first = splits_of(build(tmp_path, many()))
    build(tmp_path, many(10))
    assert splits_of(build(tmp_path, many())) == first


def test_another_rule_has_a_ledger_of_its_own(tmp_path):
    first = splits_of(build(tmp_path, many()))
    other = splits_of(build(tmp_path, many(), rule=SplitRule(seed="other")))
    assert other != first
    assert len(list((tmp_path / "home" / "splits").glob("*.parquet"))) == 2
    assert splits_of(build(tmp_path, many())) == first


def test_a_shipped_split_leaves_no_trace_once_the_catalog_no_longer_asks_for_it(tmp_path):
    splits = {"source": {"splits": {"train": "tr", "validation": "va", "test": "te"}}}
    rows = [row for split in ("tr", "va", "te") for row in many(40, prefix=split, split=f"{split}/")]
    plain = splits_of(build(tmp_path, rows, disease(**splits)))
    shipped = splits_of(build(tmp_path, rows, disease(use_shipped_split=True, **splits)))
    assert {path: split[:2] for path, split in shipped.items()} == {
        row["path"]: row["path"].split("/")[1] for row in rows
    }
    assert plain != shipped
    assert splits_of(build(tmp_path, rows, disease(**splits))) == plain


@pytest.mark.parametrize("damage", [b"", b"garbage" * 50, "a flipped bit", "other columns"])
def test_a_damaged_ledger_is_an_error_and_never_draws_the_splits_anew(tmp_path, damage):
    build(tmp_path, many())
    (ledger,) = (tmp_path / "home" / "splits").glob("*.parquet")
    content = ledger.read_bytes()
    if damage == "other columns":
        write_table(ledger, pa.table({"picture": ["a"], "part": ["train"]}))
    elif damage == "a flipped bit":
        changed = np.frombuffer(content, np.uint8).copy()
        changed[len(changed) // 3] ^= 1
        ledger.write_bytes(changed.tobytes())
    else:
        ledger.write_bytes(damage)
    left = ledger.read_bytes()
    with pytest.raises(StorageError) as caught:
        build(tmp_path, many())
    said = str(caught.value).splitlines()
    assert said[:3] == [
        "The ledger of splits is damaged.",
        f"  where:    {ledger}",
        "  expected: which split each image was given",
    ]
    assert said[-1] == (
        "  fix:      restore it from a backup; or remove it: images may then change their splits, and earlier "
        "runs are no longer comparable"
    )
    assert caught.value.exit_code == 15
    assert ledger.read_bytes() == left


def test_a_home_folder_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(StorageError, match="a file stands where a folder is needed: remove it"):
        build(tmp_path, many())
