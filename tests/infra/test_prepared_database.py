"""The database that each new home folder begins with."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from infra import prepared_database
from infra.prepared_database import NAME, place_database
from tasks.core.errors import StorageError


def tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as opened:
        return {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_the_installation_has_one_with_tables_and_nothing_of_a_run_in_it():
    prepared = prepared_database.prepared_database()
    assert prepared.is_file(), "make setup makes it: python -m infra.prepare_database"
    assert {"flow_run", "task_run", "alembic_version", "deployment"} <= tables(prepared)
    with closing(sqlite3.connect(prepared)) as opened:
        for table in ("flow_run", "log", "events", "configuration", "variable", "block_document"):
            assert opened.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_a_new_folder_gets_a_copy_and_an_old_one_keeps_what_it_has(tmp_path):
    new, old = tmp_path / "new", tmp_path / "old"
    place_database(new)
    assert (new / NAME).read_bytes() == prepared_database.prepared_database().read_bytes()
    old.mkdir()
    (old / NAME).write_bytes(b"runs of years")
    place_database(old)
    assert (old / NAME).read_bytes() == b"runs of years"


def test_without_one_of_this_version_of_prefect_the_server_makes_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared_database, "version", lambda _: "3.0.0")
    place_database(tmp_path / "home")
    assert not (tmp_path / "home").exists()
    monkeypatch.undo()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    place_database(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left_there(tiny_disk):
    with pytest.raises(StorageError, match="No space left on device"):
        place_database(tiny_disk / "prefect")
    assert [path.name for path in (tiny_disk / "prefect").iterdir()] == [f"{NAME}.lock"]
