"""Where the stack's two servers keep what they know: SQLite in the home folder, or two databases of a PostgreSQL server.

Each brings tables of its own and both call some of them the same, so they never share a database.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from tasks.core.addresses import without_secret
from tasks.core.errors import StorageError, first_line
from tasks.core.settings import Settings, default_tracking_uri
from tasks.tracking import open_tracker

_FIX = "RADTRAIN_DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/NAME, with a user who may create databases"


@dataclass(frozen=True, slots=True)
class Databases:
    """Addresses, with their passwords: they go into the environment of a server and nowhere else.

    Attributes:
        prefect: for Prefect, with its driver.
        mlflow: for MLflow, with its driver.
        server: address of the PostgreSQL server; empty for SQLite.
        names: of its databases that must be there.
    """

    prefect: str
    mlflow: str
    server: str = ""
    names: tuple[str, ...] = ()

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables of one server."""
        if name == "prefect":
            return {"PREFECT_API_DATABASE_CONNECTION_URL": self.prefect}
        # Its job execution is eight processes and 2 GB more, and nothing here uses it.
        return {"MLFLOW_BACKEND_STORE_URI": self.mlflow, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

    def prepare(self, settings: Settings) -> None:
        """Make what is not there yet, before several processes open it at once.

        Raises:
            StorageError: the PostgreSQL server cannot be reached, or does not let a database be made.
            TrackingError: MLflow cannot make its tables.
        """
        if self.server:
            _create(self.server, self.names)
        else:
            open_tracker(self.mlflow, settings.home / "mlartifacts")


def databases(settings: Settings) -> Databases:
    """Return the databases of the stack.

    Raises:
        StorageError: RADTRAIN_DATABASE_URL is no address of a PostgreSQL database.
    """
    if settings.database is None:
        prefect = f"sqlite+aiosqlite:///{settings.home / 'prefect' / 'prefect.db'}"
        return Databases(prefect, default_tracking_uri(settings.home))
    place = urlsplit(settings.database)
    base = place.path.strip("/")
    if place.scheme not in ("postgresql", "postgres") or not place.hostname or not base or "/" in base:
        raise StorageError(
            "The database of the stack was not understood.",
            where="RADTRAIN_DATABASE_URL",
            expected="postgresql://USER:PASSWORD@HOST:5432/NAME",
            received=without_secret(settings.database),
            fix=f"export {_FIX}; or unset it, for SQLite in the home folder",
        )

    def address(driver: str, name: str) -> str:
        return urlunsplit((f"postgresql{driver}", place.netloc, f"/{name}", "", ""))

    names = (f"{base}_prefect", f"{base}_mlflow")
    return Databases(
        address("+asyncpg", names[0]), address("+psycopg", names[1]), address("", "postgres"), names
    )


def _create(server: str, names: tuple[str, ...]) -> None:
    import psycopg
    from psycopg import sql

    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=10) as connection:
            there = {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}
            for name in names:
                if name not in there:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise StorageError(
            "The databases of the stack cannot be made.",
            where=without_secret(server),
            expected=f"a PostgreSQL server with the databases {' and '.join(names)}, or the right to make them",
            received=first_line(error),
            fix=f"start it, or correct {_FIX}",
        ) from error
