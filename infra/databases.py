"""Where the stack's two servers keep what they know: SQLite in the home folder, or two databases of a PostgreSQL server.

Each brings tables of its own and both call some of them the same, so they never share a database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

from infra.prepared_database import NAME, place_database
from tasks.core.errors import StorageError, first_line
from tasks.core.settings import Settings, default_tracking_uri
from tasks.tracking import open_tracker

_FORM = "postgresql://USER:PASSWORD@HOST:5432/NAME"
_FIX = f"RADTRAIN_DATABASE_URL={_FORM}, with a user who may create databases"
#: PostgreSQL cuts names off after 63 bytes, and `_prefect` is to stand at the end.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,54}")
#: What an address may ask for: how far the connection is encrypted. SQLAlchemy and asyncpg call it `ssl`.
_SSL_MODE = re.compile(r"(?:sslmode=(disable|allow|prefer|require|verify-ca|verify-full))?")


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server, and who asks it.

    Attributes:
        host: name or number.
        port: that it listens at.
        user: empty for the one that the system knows.
        password: empty for none, or one that PostgreSQL's own files and variables tell.
        ssl_mode: as libpq has it; empty for what it does by default.
    """

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    ssl_mode: str = ""

    def address(self, driver: str, name: str, ssl_word: str) -> str:
        """Return the address of one of its databases as SQLAlchemy takes it, password included."""
        who = quote(self.user, safe="") + (":" + quote(self.password, safe="") if self.password else "")
        asked = f"?{ssl_word}={self.ssl_mode}" if self.ssl_mode else ""
        return f"postgresql+{driver}://{who}{'@' if who else ''}{self._place()}/{name}{asked}"

    def __str__(self) -> str:
        return f"postgresql://{self._place()}"

    def _place(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Databases:
    """Addresses, with their passwords: they go into the environment of a server and nowhere else.

    Attributes:
        prefect: for Prefect, with its driver.
        mlflow: for MLflow, with its driver.
        server: of PostgreSQL; None for SQLite.
        names: of its databases that must be there.
    """

    prefect: str = field(repr=False)
    mlflow: str = field(repr=False)
    server: Server | None = None
    names: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where they are, for people: no user and no password."""
        return (
            "SQLite in the home folder"
            if self.server is None
            else f"{self.server}, {' and '.join(self.names)}"
        )

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables of one server."""
        if name == "prefect":
            return {"PREFECT_API_DATABASE_CONNECTION_URL": self.prefect}
        # Its job execution is eight processes and 2 GB more, and nothing here uses it.
        return {"MLFLOW_BACKEND_STORE_URI": self.mlflow, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

    def prepare(self, name: str, settings: Settings) -> None:
        """Make what one server needs and what is not there yet, before several processes open it at once.

        Raises:
            StorageError: the PostgreSQL server cannot be reached, or does not let a database be made; or the home
                folder cannot be written.
            TrackingError: MLflow cannot make its tables.
        """
        if self.server:
            _create(self.server, self.names)
        elif name == "prefect":
            place_database(settings.home / "prefect")
        else:
            open_tracker(self.mlflow, settings.home / "mlartifacts")


def databases(settings: Settings) -> Databases:
    """Return the databases of the stack.

    A password may be given as it is, but for `/`, `?`, `#`, `[`, `]`, and a `%` before two hexadecimal digits: these
    are written %2F, %3F, %23, %5B, %5D and %25.

    Raises:
        StorageError: RADTRAIN_DATABASE_URL is no address of a PostgreSQL database.
    """
    if settings.database is None:
        prefect = f"sqlite+aiosqlite:///{settings.home / 'prefect' / NAME}"
        return Databases(prefect, default_tracking_uri(settings.home))
    try:
        place = urlsplit(settings.database)
        port = 5432 if place.port is None else place.port
    except ValueError:  # what it says may be a part of the password
        raise _wrong("a port that is no number up to 65535, or a bracket in a password") from None
    fault = _fault(place)
    if fault:
        raise _wrong(fault)
    base = place.path.strip("/")
    server = Server(
        place.hostname or "",
        port,
        unquote(place.username or ""),
        unquote(place.password or ""),
        place.query.removeprefix("sslmode="),
    )
    names = (f"{base}_prefect", f"{base}_mlflow")
    return Databases(
        server.address("asyncpg", names[0], "ssl"),
        server.address("psycopg", names[1], "sslmode"),
        server,
        names,
    )


def _fault(place: SplitResult) -> str:
    """Return what is wrong with an address, without a word of it but its scheme: any part may be of the password."""
    if place.scheme not in ("postgresql", "postgres"):
        return f"an address of {place.scheme}" if place.netloc or place.path.startswith("/") else "no address"
    if not place.hostname:
        return "no host"
    if place.fragment:
        return "a # that is not written %23"
    if not _SSL_MODE.fullmatch(place.query):
        return "something after a ? that is no sslmode"
    if not _NAME.fullmatch(place.path.strip("/")):
        return "no name of a database, or one with other signs than letters, digits, _ and -, or above 55 of them"
    return ""


def _wrong(received: str) -> StorageError:
    return StorageError(
        "The database of the stack was not understood.",
        where="RADTRAIN_DATABASE_URL",
        expected=f"{_FORM}, or the same with ?sslmode=require; in a password / ? # [ ] % as %2F %3F %23 %5B %5D %25",
        received=received,
        fix=f"export {_FIX}; or unset it, for SQLite in the home folder",
    )


def _create(server: Server, names: tuple[str, ...]) -> None:
    import psycopg
    from psycopg import sql

    try:
        with psycopg.connect(
            host=server.host,
            port=server.port,
            user=server.user or None,
            password=server.password or None,
            sslmode=server.ssl_mode or None,
            dbname="postgres",
            client_encoding="utf8",  # of a server whose own is ASCII, names would come as bytes
            autocommit=True,
            connect_timeout=10,
        ) as connection:
            there = {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}
            for name in names:
                if name not in there:
                    # A server's own default may be ASCII, and names of diseases are not.
                    make = "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0"
                    connection.execute(sql.SQL(make).format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise StorageError(
            "The databases of the stack cannot be made.",
            where=server,
            expected=f"a PostgreSQL server with the databases {' and '.join(names)}, or the right to make them",
            received=first_line(error),
            fix=f"start it, or correct {_FIX}",
        ) from error
