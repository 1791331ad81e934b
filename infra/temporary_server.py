"""A Prefect server for a run that has none: started in the background, gone with the run.

Where PREFECT_API_URL names a server, that one is used. Otherwise a temporary one is started at once, beside the
imports that the run needs anyway, so that it costs no time of its own. Its database stays in the home folder.
"""

from __future__ import annotations

import atexit
import http.client
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from infra.prepared_database import place_database
from infra.processes import HOST, free_port, go_past_proxies
from tasks.core.addresses import without_secret
from tasks.core.errors import ServerError
from tasks.files import writing
from tasks.lifeline import die_with_parent

#: Runs of a command need no schedules and no pages.
_LEAN = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
}
#: A new database takes 8 s on two idle cores; a busy machine may need far longer.
PATIENCE_S = 120.0
#: One that was named is up, or is just being started anew.
_PATIENCE_NAMED_S = 3.0


def start_prefect_server(home: Path) -> Callable[[], None]:
    """Name a server in PREFECT_API_URL, and return a function that waits until it answers.

    To be called before prefect is imported, which reads its settings then. A temporary server ends when this
    process does, after Prefect has sent its last log lines.

    Raises:
        ServerError: the server named does not answer; from the function: the temporary one ended.
        StorageError: its log or its database cannot be written.
    """
    named = os.environ.get("PREFECT_API_URL")
    if named:
        _wait(named, patience_s=_PATIENCE_NAMED_S, process=None, log=None)
        return lambda: None
    port = free_port()
    url = f"http://{HOST}:{port}/api"
    log = home / "prefect" / "temporary-server.log"
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        output = log.open("wb")
    ours = home / "prefect"
    if os.environ.setdefault("PREFECT_HOME", str(ours)) == str(ours):
        place_database(ours)
    with output:
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [sys.executable, "-m", "infra.serve_prefect", HOST, str(port)],
            env={**os.environ, **_LEAN},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle: the flow's last words still need the server
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    os.environ["PREFECT_API_URL"] = url
    go_past_proxies(os.environ)
    atexit.register(_stop, process)
    return lambda: _wait(url, patience_s=PATIENCE_S, process=process, log=log)


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()


def _wait(url: str, *, patience_s: float, process: subprocess.Popen | None, log: Path | None) -> None:
    ends = time.monotonic() + patience_s
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310 - http, checked below
                return
        except (OSError, ValueError, http.client.HTTPException) as error:
            # Some of them repeat the address, password included.
            said = type(error).__name__ if "@" in url else str(error)
        died = process is not None and process.poll() is not None
        if died or time.monotonic() > ends:
            raise ServerError(
                "The Prefect server does not answer.",
                where=without_secret(url),
                expected="an answer at /health",
                received=f"exit code {process.returncode}; see {log}" if died and process else said,
                fix="start it (prefect server start) and set PREFECT_API_URL to it, or unset PREFECT_API_URL: "
                "a temporary server is then started for each run",
            )
        time.sleep(0.1)
