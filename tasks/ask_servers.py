"""Asks what answers at the addresses of a user: Prefect's API, an MLflow server, a database. Imports neither.

In: addresses as the user wrote them. Out: lines of the doctor, or an error; none with a password in it.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from tasks.core.addresses import without_secret
from tasks.core.diagnosis import (
    Answer,
    Line,
    fail,
    judge_mlflow_server,
    judge_prefect,
    ok,
    warn,
)
from tasks.core.errors import ServerError, TrackingError, first_line
from tasks.mlflow_errors import unreachable

PATIENCE_S = 2.0
#: A whole check of 200 MB takes about half a second; of more, only the beginning is worth the wait.
CHECKED_BYTES = 200_000_000
_CHECK_S = 1.0
_BODY = 200
_MEND_TRACKING = "correct MLFLOW_TRACKING_URI, or unset it to record in the home folder"
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def ask(address: str, *, patience_s: float = PATIENCE_S) -> Answer:
    """Return what answers at an http address that holds no password; nothing is raised."""
    try:
        with urllib.request.urlopen(address, timeout=patience_s) as answer:  # noqa: S310 - callers pass http only
            return Answer(answer.status, answer.read(_BODY).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code)
    except urllib.error.URLError as error:
        return Answer(trouble=_reason(error.reason))
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Answer(trouble=_reason(error))


def ask_prefect(address: str) -> Line:
    """Return the line about the Prefect server that PREFECT_API_URL names; empty: a run starts one itself."""
    if not address:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", 0))
            except OSError as error:
                return fail(
                    "prefect",
                    f"no server is named, and a run cannot start one: 127.0.0.1: {error.strerror}",
                    remedy="let programs listen on 127.0.0.1, or export PREFECT_API_URL=http://HOST:4200/api",
                    kind=ServerError,
                )
        return ok("prefect", "no server is named: each run starts one of its own on 127.0.0.1")
    plain = without_secret(address).rstrip("/")
    if not _is_http(plain):
        return fail(
            "prefect",
            f"PREFECT_API_URL is no http address: {plain}",
            remedy="export PREFECT_API_URL=http://HOST:4200/api, or unset it",
            kind=ServerError,
        )
    health = ask(f"{plain}/health") if "@" not in address else Answer()
    # /version is that of the API, which has numbers of its own.
    told = ask(f"{plain}/admin/version").body if health.status == 200 else ""
    return judge_prefect(address, health=health, version=_version(told), own=_own("prefect"))


def ask_mlflow(address: str, *, home: Path) -> Line:
    """Return the line about the place where MLflow records; `home` is where its own database would be."""
    plain = without_secret(address)
    if address.startswith("sqlite"):
        return _check_sqlite(address, home)
    if _is_http(plain):
        base = plain.rstrip("/")
        health = ask(f"{base}/health")
        told = ask(f"{base}/version").body if health.status == 200 else ""
        return judge_mlflow_server(address, health=health, version=_version(told))
    kind = plain.partition("://")[0].partition("+")[0]
    if "://" in plain and kind in _PORTS:
        return _reach_database(plain, _PORTS[kind])
    if "://" in plain and kind not in ("file", "http", "https"):
        return ok("mlflow", f"{plain} (addresses of this kind are not asked)")
    text = f"MLflow 3.17 does not record in files any more: {plain}"
    if kind.startswith("http"):
        text = f"MLFLOW_TRACKING_URI is no http address: {plain}"
    return fail("mlflow", text, remedy=_MEND_TRACKING, kind=TrackingError)


def require_mlflow(address: str) -> None:
    """Return unless nobody can be there at the http address of an MLflow server.

    Whatever else may be wrong, and addresses of other kinds, are left to MLflow itself: it knows of certificates,
    and has more patience.

    Raises:
        TrackingError: its host is not known, or refuses the connection.
    """
    plain = without_secret(address)
    if not _is_http(plain):
        return
    try:
        with urllib.request.urlopen(f"{plain.rstrip('/')}/health", timeout=PATIENCE_S):  # noqa: S310 - http
            return
    except urllib.error.HTTPError as error:
        error.close()
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError | socket.gaierror):
            raise unreachable(address, _reason(error.reason)) from error
    except (OSError, http.client.HTTPException):  # it is slow, or speaks something else
        return


def _check_sqlite(address: str, home: Path) -> Line:
    """Return the line about a SQLite database: new, whole, busy, damaged, or not to be written."""
    name = address.partition("://")[2].partition("?")[0].removeprefix("/")
    if not name or name == ":memory:":
        text = "an SQLite database in memory: what is recorded is gone with the run"
        return warn("mlflow", text, remedy=_MEND_TRACKING)
    database = Path(name)
    if not database.parent.is_dir() and database.parent != home:
        text = f"the folder of the database is not there: {database.parent}"
        return fail("mlflow", text, remedy=f"make it, {_MEND_TRACKING}", kind=TrackingError)
    if not database.exists():
        return ok("mlflow", f"the first run makes {database}")
    large = database.stat().st_size > CHECKED_BYTES
    try:
        problem = "" if large else _first_problem(database)
    except sqlite3.Error as error:
        said = first_line(error)
        if "locked" in said:
            text = f"{database} is in use by another program ({said})"
            return warn("mlflow", text, remedy="ask again when no run and no MLflow server writes there")
        problem = said
    if problem:
        remedy = f"move {database} away and let the next run make a new one, or put a copy of it back"
        if "readonly" in problem:
            remedy = "make the file and its folder writable for you"
        return fail("mlflow", f"{database}: {problem}", remedy=remedy, kind=TrackingError)
    return ok("mlflow", f"{database}" + (", too large to be checked here" if large else ", whole"))


def _first_problem(database: Path) -> str:
    """Return the first fault that SQLite finds in a database within a second, or an empty text.

    Raises:
        sqlite3.Error: it is locked, cannot be written, or is no database.
    """
    ends = time.monotonic() + _CHECK_S
    address = f"{database.absolute().as_uri()}?mode=rw"  # rw: as a run opens it, and never made anew
    with closing(sqlite3.connect(address, uri=True, timeout=0.5, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # alone, it succeeds on a file that cannot be written
        connection.execute("CREATE TABLE radtrain_doctor (trial INTEGER)")
        connection.execute("ROLLBACK")
        connection.set_progress_handler(lambda: time.monotonic() > ends, 10_000)
        try:
            [said] = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):  # nothing was found as far as the time went
                return ""
            raise
    return "" if said == "ok" else str(said).splitlines()[-1]


def _reach_database(address: str, port: int) -> Line:
    """Return the line about a database server: whether its port is open; nothing is asked of it."""
    try:
        place = urlsplit(address)
        with socket.create_connection((place.hostname or "", place.port or port), timeout=PATIENCE_S):
            return ok("mlflow", f"{address}: something listens there")
    except (OSError, ValueError) as error:
        text = f"{address} does not answer: {_reason(error)}"
        return fail("mlflow", text, remedy=f"start it, {_MEND_TRACKING}", kind=TrackingError)


def _is_http(address: str) -> bool:
    try:
        place = urlsplit(address)
        return place.scheme in ("http", "https") and bool(place.hostname) and (place.port or 1) > 0
    except ValueError:
        return False


def _reason(error: object) -> str:
    """Return why nothing came back, in words that hold no address."""
    if isinstance(error, TimeoutError):
        return "nothing came in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _version(body: str) -> str:
    """Return a version out of an answer, with or without JSON's quotes; empty where it is none."""
    try:
        told = str(json.loads(body))
    except ValueError:
        told = body.strip()
    return told if re.fullmatch(r"\d[\w.+-]{0,30}", told) else ""


def _own(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
