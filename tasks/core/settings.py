"""Where a run finds its data, its home and its servers: flags first, then the environment, then defaults.

The only place that knows the names of the environment variables. Paths come out absolute.
"""

from __future__ import annotations

import math
import os
import os.path
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from tasks.core.errors import DataNotFound, ServerError, StorageError

#: Nothing phones home, whatever a library's default is. Set before any of them is imported.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # The newer pages of its server ask a company's server for settings on every load, and show no links in tables.
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # A server that is not there is said to be so within seconds, not after seven retries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


#: Twice what the shipped intensive profile caches of five diseases: 17,875 rows of 88 KB each.
DEFAULT_CACHE_GIB = 20


def silence(environment: MutableMapping[str, str]) -> None:
    """Set what is in QUIET, unless the user said otherwise."""
    for name, value in QUIET.items():
        environment.setdefault(name, value)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are.

    Attributes:
        data: the root below which the catalog's folders lie, or None where none was named.
        home: folder for facts, caches, runs and, by default, the databases.
        catalog: folder with the user's own `diseases.toml` or `profiles.toml`, or None.
        tracking_uri: where MLflow records; SQLite in `home` by default.
        cache_limit: bytes that cached pixels and features may take on disk.
        database: address of a PostgreSQL server for the stack's databases; None for SQLite in `home`.
        prefect_port: that the stack's Prefect server listens at.
        mlflow_port: that its MLflow server listens at.
    """

    data: Path | None
    home: Path
    catalog: Path | None
    tracking_uri: str
    cache_limit: int = DEFAULT_CACHE_GIB * 2**30
    database: str | None = None
    prefect_port: int = 4200
    mlflow_port: int = 5000

    @property
    def artifact_root(self) -> Path | None:
        """Folder of MLflow's artifacts while it records in `home`; a server has its own."""
        return self.home / "mlartifacts" if self.tracking_uri == default_tracking_uri(self.home) else None

    def require_data(self) -> Path:
        """Return the data root.

        Raises:
            DataNotFound: none was named, or what was named is not a folder.
        """
        fix = "name the folder that holds the images: --data DIR, or export RADTRAIN_DATA=DIR"
        if self.data is None:
            raise DataNotFound(
                "No data root was named.", expected="--data DIR or RADTRAIN_DATA", received="neither", fix=fix
            )
        # os.path: a folder that may not be looked at is no folder, and no exception.
        if not os.path.isdir(self.data):
            there = "a file" if os.path.exists(self.data) else "nothing"
            raise DataNotFound(
                "The data root is not a folder.",
                where=self.data,
                expected="a folder",
                received=there,
                fix=fix,
            )
        return self.data


def default_tracking_uri(home: Path) -> str:
    """Return the address of the SQLite database in `home`."""
    return f"sqlite:///{home / 'mlflow.db'}"


def read_settings(
    environment: Mapping[str, str],
    *,
    data: str | None = None,
    home: str | None = None,
    catalog: str | None = None,
    tracking_uri: str | None = None,
) -> Settings:
    """Return the settings: an argument beats its environment variable, which beats the default.

    Args:
        environment: usually `os.environ`; reads RADTRAIN_DATA, RADTRAIN_HOME, RADTRAIN_CATALOG,
            RADTRAIN_CACHE_GIB, RADTRAIN_DATABASE_URL, RADTRAIN_PREFECT_PORT, RADTRAIN_MLFLOW_PORT and
            MLFLOW_TRACKING_URI. An empty value counts as not set.
        data: `--data`.
        home: `--home`.
        catalog: `--catalog`.
        tracking_uri: where MLflow records, whatever MLFLOW_TRACKING_URI says.

    Raises:
        StorageError: RADTRAIN_CACHE_GIB is no size.
        ServerError: a port is none.
    """

    def path(flag: str | None, name: str) -> Path | None:
        said = flag or environment.get(name)
        # Path.expanduser raises where there is no such user; this leaves the name as it is, to be reported.
        return Path(os.path.expanduser(said)).absolute() if said else None

    where = path(home, "RADTRAIN_HOME") or Path.home() / ".radtrain"
    return Settings(
        data=path(data, "RADTRAIN_DATA"),
        home=where,
        catalog=path(catalog, "RADTRAIN_CATALOG"),
        tracking_uri=tracking_uri or environment.get("MLFLOW_TRACKING_URI") or default_tracking_uri(where),
        cache_limit=_cache_limit(environment.get("RADTRAIN_CACHE_GIB") or str(DEFAULT_CACHE_GIB)),
        database=environment.get("RADTRAIN_DATABASE_URL") or None,
        prefect_port=_port("RADTRAIN_PREFECT_PORT", environment.get("RADTRAIN_PREFECT_PORT") or "4200"),
        mlflow_port=_port("RADTRAIN_MLFLOW_PORT", environment.get("RADTRAIN_MLFLOW_PORT") or "5000"),
    )


def _port(name: str, said: str) -> int:
    if not said.isascii() or not said.isdigit() or not 0 < int(said) < 65536:
        raise ServerError(
            "A port was not understood.",
            where=name,
            expected="a whole number from 1 to 65535",
            received=said,
            fix=f"export {name}=4200, or any other port that is free",
        )
    return int(said)


def _cache_limit(said: str) -> int:
    try:
        gib = float(said)
    except ValueError:
        gib = math.nan
    if not 0 < gib < math.inf:
        raise StorageError(
            "The limit of the cache was not understood.",
            where="RADTRAIN_CACHE_GIB",
            expected="a number of GiB above 0",
            received=said,
            fix=f"export RADTRAIN_CACHE_GIB={DEFAULT_CACHE_GIB}, or unset it",
        )
    return int(gib * 2**30)
