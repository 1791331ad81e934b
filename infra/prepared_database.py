"""Prefect's database as it is before its first run, made when radtrain is installed: a copy for each new home folder.

    <environment>/share/radtrain/prefect-<version>.db

To make its tables takes a server over a hundred migrations, 8 s; to copy them takes none. Without the file, or with
one of another version of Prefect, the server makes them by itself. `infra/prepare_database.py` makes it.
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from tasks.files import alone, write_atomically

#: As Prefect calls it.
NAME = "prefect.db"


def prepared_database() -> Path:
    """Return where the prepared one stands, whether it is there or not."""
    return Path(sys.prefix) / "share" / "radtrain" / f"prefect-{version('prefect')}.db"


def place_database(folder: Path) -> None:
    """Put a copy into a folder in which a Prefect server is to keep its database, if it has none there.

    Raises:
        StorageError: the folder cannot be written.
    """
    database, prepared = folder / NAME, prepared_database()
    if database.exists() or not prepared.exists():
        return
    with alone(folder / f"{NAME}.lock"):
        if not database.exists():
            write_atomically(database, lambda file: _copy(prepared, file))


def _copy(prepared: Path, file: BinaryIO) -> None:
    with prepared.open("rb") as source:
        shutil.copyfileobj(source, file)
