"""The life of a flow run: seen to be alive while it lasts, alone at its work, and never "running" after its end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from prefect.runtime import flow_run

from tasks.core.settings import Settings
from tasks.end_lost_runs import end_lost_runs
from tasks.files import prepare_home
from tasks.lifeline import alive, alone_at, die_with_parent


@contextlib.contextmanager
def lifetime(settings: Settings, work: str | None = None) -> Iterator[None]:
    """Prepare the home folder, see lost runs to their end, and hold the locks of this one.

    Args:
        settings: where things are.
        work: key of what only one run may be at; None where any number may.

    Raises:
        AlreadyRunning: another run is at that.
        StorageError: the home folder cannot be written.
        TrackingError: MLflow cannot be reached, and a lost run is open there.
    """
    if (
        "PREFECT__FLOW_RUN_ID" in os.environ
    ):  # a worker started this process: without it nobody could cancel the run
        die_with_parent(signal.SIGKILL)
    home, key = prepare_home(settings.home), flow_run.id
    with alive(home, key), contextlib.ExitStack() as held:
        if work is not None:
            held.enter_context(alone_at(home, work, key))
        end_lost_runs(settings)
        yield
