"""Stage: plans -> the earlier runs that did just this: same images, same figures, same seed, same code.

In: the plan of each disease. Out: for some of them the completed run whose results stand. Nothing is computed twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.code_digest import code_digest
from tasks.core.plan import Plan
from tasks.find_runs import CompletedRun
from tasks.run_folder import UnreadableRun, read_run_folder
from tasks.store import disease_folder
from tasks.tracking import Tracker


@task(name="find-unchanged", cache_policy=NO_CACHE)
def find_unchanged(tracker: Tracker, home: Path, plans: Mapping[str, Plan]) -> dict[str, CompletedRun]:
    """Return, for every disease that was trained by this plan and this code, the newest completed run of it.

    A run that was deleted in MLflow, or whose folder is gone or damaged, does not count.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    found = {disease: _find(tracker, home, plan) for disease, plan in plans.items()}
    return {disease: run for disease, run in found.items() if run is not None}


def _find(tracker: Tracker, home: Path, plan: Plan) -> CompletedRun | None:
    tags = {"radtrain.plan": plan.digest(), "radtrain.code": code_digest()}
    for run in tracker.search_runs(tags=tags):
        if run.status == "FINISHED":
            with contextlib.suppress(UnreadableRun):  # an older one may be whole
                folder = read_run_folder(disease_folder(home, run.parent or run.run_id, plan.disease))
                return CompletedRun(run, folder)
    return None
