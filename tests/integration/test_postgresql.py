"""The stack on a real PostgreSQL server: what it keeps there, who knows the password, what is said where it cannot."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg
import pytest

from infra.databases import databases
from infra.processes import free_port
from tasks.core.errors import StorageError
from tasks.core.settings import read_settings
from tasks.lifeline import die_with_parent
from tests.integration.stacks import DISEASES, Ground, make_ground, standing, until

ADMIN, USER, GUEST = "postgres", "radtrain", "guest"
#: Found wherever it stands, however it is written there.
TOKEN = secrets.token_hex(12)
#: With all that an address takes for something else.
PASSWORD = f"@:/?#[]%4 &+ü{TOKEN}'\""


@dataclass(frozen=True)
class Postgres:
    """A server of one's own: all that it knows is gone afterwards."""

    programs: Path
    folder: Path
    port: int

    def address(self, user: str = USER, password: str = PASSWORD, name: str = "radtrain") -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{name}"

    def ask(self, name: str, query: str) -> list[tuple[Any, ...]]:
        """Return what a database answers to its administrator."""
        with self._connected(name) as connection:
            return connection.execute(query.encode()).fetchall()

    def tell(self, *statements: str) -> None:
        with self._connected("postgres") as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def databases(self) -> set[str]:
        return {name for (name,) in self.ask("postgres", "SELECT datname FROM pg_database")}

    def dump(self, name: str) -> str:
        """Return all rows of a database."""
        words = [str(self.programs / "pg_dump"), "-h", "127.0.0.1", "-p", str(self.port), "-U", ADMIN, name]
        said = {**os.environ, "PGPASSWORD": PASSWORD}
        return subprocess.run(words, env=said, check=True, capture_output=True, text=True).stdout

    def _connected(self, name: str) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=ADMIN,
            password=PASSWORD,
            dbname=name,
            autocommit=True,
            client_encoding="utf8",
        )

    def answers(self) -> bool:
        try:
            return "postgres" in self.databases()
        except psycopg.OperationalError:
            return False


def programs() -> Path:
    """Return the folder of PostgreSQL's programs."""
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3])
    )
    if not debian:
        pytest.skip("there is no PostgreSQL here: neither postgres on the PATH nor /usr/lib/postgresql")
    return debian[-1].parent


def unprivileged() -> dict[str, Any]:
    """Return as whom a server runs: it refuses root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    who = known.get("postgres") or known["nobody"]
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server that wants passwords, with a user who may create databases and one who may not."""
    found, who = programs(), unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="radtrain-postgres-", dir="/tmp"))
    server = Postgres(found, folder, free_port())
    (folder / "password").write_text(PASSWORD)
    if who:
        for path in (folder, folder / "password"):
            os.chown(path, who["user"], who["group"])
    how: dict[str, Any] = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}, **who}
    try:
        make = [str(found / "initdb"), "-D", str(folder / "data"), "-U", ADMIN, "-A", "scram-sha-256"]
        subprocess.run(
            [*make, f"--pwfile={folder / 'password'}", "--no-sync"], check=True, capture_output=True, **how
        )
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        start = [str(found / "postgres"), "-D", str(folder / "data"), "-p", str(server.port)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*start, *(word for name, value in options.items() for word in ("-c", f"{name}={value}"))],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: die_with_parent(signal.SIGINT),
                **how,
            )
        try:
            until(lambda: process.poll() is not None or server.answers(), "an answer", within_s=60)
            assert process.poll() is None, (folder / "log").read_text()
            written = PASSWORD.replace("'", "''")
            server.tell(
                f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{written}'",
                f"CREATE ROLE {GUEST} LOGIN PASSWORD '{written}'",
            )
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # at once, whoever is connected
            assert process.wait(timeout=60) == 0
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def ground(postgres: Postgres, tmp_path_factory) -> Iterator[Ground]:
    """A stack that is up, on that server."""
    made = make_ground(tmp_path_factory.mktemp("stack"), RADTRAIN_DATABASE_URL=postgres.address())
    with standing(made):
        yield made


def refused(address: str, tmp_path: Path) -> str:
    """Return what `radtrain up` says; it starts nothing."""
    (tmp_path / "data").mkdir()
    more = {"RADTRAIN_DATABASE_URL": address, "RADTRAIN_CATALOG": ""}
    ground = Ground(tmp_path / "data", tmp_path, tmp_path / "home", free_port(), free_port(), more)
    done = ground.radtrain("up")
    assert done.returncode == 15, done.stderr
    assert done.stdout == ""
    assert not ground.processes()
    assert TOKEN not in done.stderr
    return done.stderr


def prepare(address: str) -> None:
    settings = read_settings({"RADTRAIN_DATABASE_URL": address})
    databases(settings).prepare("prefect", settings)


def test_a_wrong_password_is_not_repeated(postgres: Postgres, tmp_path: Path):
    said = refused(postgres.address(password=f"wrong{TOKEN}"), tmp_path)
    assert said.startswith("error: The databases of the stack cannot be made.\n")
    assert f"where:    postgresql://127.0.0.1:{postgres.port}\n" in said
    assert "expected: a PostgreSQL server with the databases radtrain_prefect and radtrain_mlflow" in said
    assert re.search(r"received: .*password authentication failed for user \"radtrain\"\n", said)
    assert "fix:      start it, or correct RADTRAIN_DATABASE_URL=postgresql://USER:PASSWORD@HOST" in said
    assert not {"radtrain_prefect", "radtrain_mlflow"} & postgres.databases()


def test_a_server_that_is_down_is_named(tmp_path: Path):
    port = free_port()
    said = refused(f"postgresql://{USER}:{TOKEN}@127.0.0.1:{port}/radtrain", tmp_path)
    assert f"where:    postgresql://127.0.0.1:{port}\n" in said
    assert re.search(rf"received: .*port {port} failed: Connection refused\n", said)
    assert "fix:      start it" in said


def test_who_may_not_create_databases_is_told_which_and_goes_on_once_they_are_there(postgres: Postgres):
    address = postgres.address(user=GUEST, name="theirs")
    with pytest.raises(StorageError) as error:
        prepare(address)
    said = str(error.value)
    assert "databases theirs_prefect and theirs_mlflow, or the right to make them" in said
    assert "received: permission denied to create database" in said
    assert TOKEN not in said
    postgres.tell(
        f"CREATE DATABASE theirs_prefect OWNER {GUEST}", f"CREATE DATABASE theirs_mlflow OWNER {GUEST}"
    )
    prepare(address)


def test_encryption_that_a_server_does_not_offer_is_not_done_without(postgres: Postgres):
    with pytest.raises(StorageError, match="server does not support SSL, but SSL was required"):
        prepare(postgres.address(name="plain") + "?sslmode=require")
    assert "plain_prefect" not in postgres.databases()


def test_both_servers_keep_what_they_know_there_and_nothing_in_the_home_folder(
    ground: Ground, postgres: Postgres
):
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    for name, some in {
        "radtrain_prefect": {"flow_run", "deployment", "work_pool"},
        "radtrain_mlflow": {"experiments", "runs", "metrics"},
    }.items():
        assert some <= {table for (table,) in postgres.ask(name, tables)}
        [(encoding, owner)] = postgres.ask(
            name,
            "SELECT pg_encoding_to_char(encoding), pg_get_userbyid(datdba) FROM pg_database "
            "WHERE datname = current_database()",
        )
        assert (encoding, owner) == ("UTF8", USER)  # though the server's own default is ASCII
    planned = {name for (name,) in postgres.ask("radtrain_prefect", "SELECT name FROM deployment")}
    assert {"fast", "intensive", "all"} <= planned
    assert not sqlite_files(ground)


def test_a_run_is_recorded_in_both_and_does_not_know_the_password(ground: Ground, postgres: Postgres):
    flow_run_id = ground.start("train-all/fast")
    until(lambda: len(ground.flow_processes(flow_run_id)) >= 2, "the run and its process that trains")
    servers = {
        process.pid
        for name in ("prefect", "mlflow")
        for leader in [psutil.Process(ground.pid(name))]
        for process in (leader, *leader.children(recursive=True))
    }
    knowing, others = [], 0
    for process in ground.processes():
        words = " ".join(process.cmdline())
        assert TOKEN not in words
        knows = [name for name, value in process.environ().items() if TOKEN in value]
        if process.pid in servers:
            knowing += knows
        else:
            assert not knows, words
            others += 1
    assert {"PREFECT_API_DATABASE_CONNECTION_URL", "MLFLOW_BACKEND_STORE_URI"} <= set(knowing)
    assert "RADTRAIN_DATABASE_URL" not in knowing
    assert others >= 3  # the worker, the run, the process that trains
    until(lambda: ground.has_ended(flow_run_id), "the run", within_s=180, every_s=0.5)
    assert ground.state(flow_run_id) == "Completed"
    said = postgres.ask(
        "radtrain_prefect", f"SELECT state_type::text FROM flow_run WHERE id = '{flow_run_id}'"
    )
    assert said == [("COMPLETED",)]
    trained = postgres.ask(
        "radtrain_mlflow",
        "SELECT value, status FROM runs JOIN tags USING (run_uuid) WHERE key = 'radtrain.disease'",
    )
    assert sorted(trained) == sorted((disease, "FINISHED") for disease in DISEASES)
    assert not sqlite_files(ground)


def test_no_file_of_the_home_folder_and_no_row_holds_the_password(ground: Ground, postgres: Postgres):
    files = [path for path in ground.home.rglob("*") if path.is_file()]
    assert {"stack.json", "prefect-server.log", "mlflow-server.log", "worker-process.log"} <= {
        path.name for path in files
    }
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    for name in ("radtrain_prefect", "radtrain_mlflow"):
        dump = postgres.dump(name)
        assert "arthritis" in dump
        assert TOKEN not in dump


def test_a_second_up_changes_nothing(ground: Ground):
    before = (ground.home / "stack" / "stack.json").read_bytes()
    done = ground.radtrain("up")
    assert (done.returncode, done.stderr) == (0, "")
    assert (ground.home / "stack" / "stack.json").read_bytes() == before


def sqlite_files(ground: Ground) -> list[Path]:
    """Return the databases of the home folder, whatever they are called."""
    begins = b"SQLite format 3"
    found = []
    for path in ground.home.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(begins)) == begins:
                    found.append(path)
    return found
