"""The flow `watch-folders`: are there new images? The diseases that have them are trained.

    folders -> names, sizes and times of files -> what changed and has settled -> event -> `train-all` of those diseases

No file is opened. What two looks in a row find alike has settled: nobody is copying any more.
"""

from __future__ import annotations

import os
from datetime import datetime

from prefect import State, flow
from prefect.states import Cancelled, Completed

from flows.lifetime import lifetime
from tasks.core.catalog import load_catalog
from tasks.core.errors import AlreadyRunning
from tasks.core.settings import read_settings, silence
from tasks.core.watching import Changes
from tasks.look_at_folders import look_at_folders
from tasks.start_training import start_training


def _run_name() -> str:
    return f"watch {datetime.now().astimezone():%Y-%m-%d %H:%M}"


@flow(name="watch-folders", flow_run_name=_run_name)
def watch_folders(
    profile: str = "fast",
    diseases: list[str] | None = None,
    data: str | None = None,
    catalog: str | None = None,
    home: str | None = None,
) -> State[Changes]:
    """Look whether the image folders changed since the last look, and train the diseases whose folders did.

    Args:
        profile: key of the catalog: how classifiers are trained.
        diseases: keys of the catalog; all of them where none is named.
        data: the data root; RADTRAIN_DATA by default.
        catalog: folder with catalog files of your own; RADTRAIN_CATALOG by default.
        home: folder for caches, runs and databases; RADTRAIN_HOME by default.

    Returns:
        Completed with `Changes` as its result: named Changed where a training was started, Settling where files still
        come, else Quiet. Cancelled where another run is looking.
    """
    silence(os.environ)
    settings = read_settings(os.environ, data=data, home=home, catalog=catalog)
    known = load_catalog(settings.catalog)
    known.profile(profile)
    try:
        with lifetime(settings, f"watch-folders-{profile}"):
            changes = look_at_folders(settings, known, profile, diseases)
            if changes.settled:
                start_training(settings, profile, changes)
    except AlreadyRunning as error:
        return Cancelled(name="Refused", message=error.what, data=error)
    return Completed(name=changes.state, message=changes.message(), data=changes)
