"""Stage: changed diseases -> a flow run of `train-all`, started by name on the Prefect server, and an event for each disease.

In: the changes. Out: the number of the flow run. Events carry keys and counts.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound

from tasks.core.errors import ServerError
from tasks.core.settings import Settings
from tasks.core.watching import Changes
from tasks.look_at_folders import note_dealt_with


@task(name="start-training", cache_policy=NO_CACHE)
def start_training(settings: Settings, profile: str, changes: Changes) -> UUID:
    """Start the training of what has settled, once: killed in between, the next look finds the run that it started.

    Raises:
        ServerError: the server does not know the deployment.
        StorageError: the home folder cannot be written.
    """
    name = f"train-all/{profile}"
    try:
        run: Any = run_deployment(
            name,
            parameters={"profile": profile, "diseases": list(changes.settled)},
            timeout=0,
            as_subflow=False,
            idempotency_key=f"watch-{profile}-{changes.key()}",
        )
    except ObjectNotFound as error:
        raise ServerError(
            "The server does not know the deployment that trains what has changed.",
            where=name,
            expected="a deployment of each profile of the catalog",
            received="none of this name",
            fix="radtrain up registers them, or python -m deployments.register",
        ) from error
    for key in changes.settled:
        emit_event(
            "radtrain.data.changed",
            resource={
                "prefect.resource.id": f"radtrain.disease.{key}",
                "prefect.resource.name": key,
                "radtrain.profile": profile,
            },
            payload={"files": changes.files[key], "before": changes.before[key]},
        )
    note_dealt_with(settings, profile, changes)
    get_run_logger().info("%s Flow run %s.", changes.message(), run.id)
    return run.id
