"""Which databases the stack asks for: addresses as people write them, and what is said of one that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from infra.databases import Databases, databases
from tasks.core.errors import StorageError
from tasks.core.settings import read_settings

SECRET = "s3cr3t"


def asked(address: str, home: Path = Path("/home")) -> Databases:
    return databases(read_settings({"RADTRAIN_DATABASE_URL": address, "RADTRAIN_HOME": str(home)}))


def urls(address: str) -> tuple[URL, URL]:
    """Return both addresses as SQLAlchemy, which Prefect and MLflow ask by, reads them."""
    found = asked(address)
    return make_url(found.prefect), make_url(found.mlflow)


@pytest.mark.parametrize("address", ["", None])
def test_without_an_address_both_are_sqlite_in_the_home_folder(tmp_path: Path, address: str | None):
    said = {"RADTRAIN_HOME": str(tmp_path)} | ({} if address is None else {"RADTRAIN_DATABASE_URL": address})
    found = databases(read_settings(said))
    assert found.server is None
    assert found.environment("prefect") == {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{tmp_path}/prefect/prefect.db"
    }
    assert found.environment("mlflow")["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/mlflow.db"


def test_each_server_has_a_database_of_its_own_and_the_driver_that_it_takes():
    prefect, mlflow = urls(f"postgresql://me:{SECRET}@db.example:6543/radtrain")
    assert (prefect.drivername, prefect.database) == ("postgresql+asyncpg", "radtrain_prefect")
    assert (mlflow.drivername, mlflow.database) == ("postgresql+psycopg", "radtrain_mlflow")
    for url in (prefect, mlflow):
        assert (url.host, url.port, url.username, url.password) == ("db.example", 6543, "me", SECRET)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("p%40ss%2Fw%3Fo%23r%25d", "p@ss/w?o#r%d"),
        ("%5Bp%5D%3A%26%20%2B", "[p]:& +"),
        ("p@ss:w&ord+", "p@ss:w&ord+"),
        ("100%sure", "100%sure"),
        ("gr%C3%BC%C3%9Fe", "grüße"),
        ("grüße", "grüße"),
    ],
)
def test_a_password_has_any_signs(written: str, meant: str):
    for url in urls(f"postgresql://me%40work:{written}@127.0.0.1:5432/radtrain"):
        assert (url.username, url.password) == ("me@work", meant)
        assert (url.host, url.port) == ("127.0.0.1", 5432)


def test_what_is_left_out_has_its_usual_value():
    for url in urls("postgres://[::1]/radtrain/"):
        assert (url.host, url.port, url.username, url.password) == ("::1", 5432, None, None)
        assert not url.query


def test_encryption_that_is_asked_for_is_asked_for_by_both():
    prefect, mlflow = urls("postgresql://me@db.example/radtrain?sslmode=verify-full")
    assert dict(prefect.query) == {"ssl": "verify-full"}
    assert dict(mlflow.query) == {"sslmode": "verify-full"}
    server = asked("postgresql://me@db.example/radtrain?sslmode=verify-full").server
    assert server is not None
    assert server.ssl_mode == "verify-full"


@pytest.mark.parametrize(
    ("address", "received"),
    [
        (f"mysql://me:{SECRET}@host/radtrain", "an address of mysql"),
        (f"sqlite:///{SECRET}.db", "an address of sqlite"),
        (f"me:{SECRET}@host/radtrain", "no address"),
        (SECRET, "no address"),
        (f"postgresql://me:{SECRET}", "a port that is no number"),
        (f"postgresql://me:{SECRET}/x@host/radtrain", "a port that is no number"),
        (f"postgresql://me:1{SECRET}[@host/radtrain", "a bracket in a password"),
        (f"postgresql://me:{SECRET}@host:99999/radtrain", "a port that is no number up to 65535"),
        (f"postgresql://me:1#{SECRET}@host/radtrain", "a # that is not written %23"),
        (f"postgresql://me:1?{SECRET}@host/radtrain", "something after a ?"),
        (f"postgresql://me@host/radtrain?password={SECRET}", "something after a ?"),
        ("postgresql://me@host/radtrain?sslmode=perhaps", "something after a ?"),
        (f"postgresql://me:1/{SECRET}@host/radtrain", "no name of a database, or one with other signs"),
        (f"postgresql://me:{SECRET}@/radtrain", "no host"),
        (f"postgresql:///{SECRET}", "no host"),
        (f"postgresql://me:{SECRET}@host", "no name of a database"),
        (f"postgresql://me:{SECRET}@host/", "no name of a database"),
        (f"postgresql://me:{SECRET}@host/rad train", "with other signs than letters"),
        (f"postgresql://me:{SECRET}@host/{'x' * 56}", "above 55 of them"),
    ],
)
def test_what_is_no_address_is_said_without_a_word_of_it(address: str, received: str):
    with pytest.raises(StorageError) as error:
        asked(address)
    said = str(error.value)
    assert said.startswith(
        "The database of the stack was not understood.\n  where:    RADTRAIN_DATABASE_URL\n"
    )
    assert received in said.split("received: ")[1].splitlines()[0]
    assert "expected: postgresql://USER:PASSWORD@HOST:5432/NAME" in said
    assert "fix:      export RADTRAIN_DATABASE_URL=postgresql://" in said
    assert SECRET not in said


def test_a_password_is_not_shown_where_the_addresses_are_printed():
    found = asked(f"postgresql://me:{SECRET}@db.example:6543/radtrain?sslmode=require")
    assert SECRET not in repr(found) + str(found)
    assert str(found.server) == "postgresql://db.example:6543"


def test_a_server_that_is_not_there_is_named(tmp_path: Path):
    settings = read_settings({"RADTRAIN_DATABASE_URL": f"postgresql://me:{SECRET}@127.0.0.1:1/radtrain"})
    with pytest.raises(StorageError) as error:
        databases(settings).prepare("prefect", settings)
    said = str(error.value)
    assert "where:    postgresql://127.0.0.1:1\n" in said
    assert "expected: a PostgreSQL server with the databases radtrain_prefect and radtrain_mlflow" in said
    assert "Connection refused" in said
    assert SECRET not in said
