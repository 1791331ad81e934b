"""Make Prefect's database as it is before its first run, and keep it where `infra/prepared_database.py` finds it.

    python -m infra.prepare_database

Part of an installation, as compiled bytecode is: what each new home folder needs is made once.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from infra.prepared_database import NAME, prepared_database
from infra.temporary_server import start_prefect_server
from tasks.core.settings import silence
from tasks.files import write_atomically


def main() -> None:
    """Let a server make one in a folder of its own, and keep it.

    Raises:
        ServerError: the server did not come up.
        StorageError: the environment cannot be written.
    """
    silence(os.environ)
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    prepared_database().unlink(missing_ok=True)  # the server would begin with a copy
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)  # once the server has ended: what is registered last comes first
    start_prefect_server(folder)()
    with closing(sqlite3.connect(folder / "prefect" / NAME)) as made:
        content = made.serialize()
    write_atomically(prepared_database(), lambda file: file.write(content))


if __name__ == "__main__":
    main()
