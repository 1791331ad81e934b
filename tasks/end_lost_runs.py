"""Stage: runs that were lost -> their end, in Prefect and in MLflow: none stays "running" for ever.

In: the home folder, where a run that ended by kill -9 or with the power left its lock. Out: how many were seen to
their end. What they had finished is kept; tried again, they go on from there.

    PREFECT_API_URL=http://127.0.0.1:4200/api python -m tasks.end_lost_runs
"""

from __future__ import annotations

import os
import sys
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, TaskRunFilter, TaskRunFilterState
from prefect.client.schemas.filters import TaskRunFilterStateType as OfType
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from tasks.core.errors import RadtrainError
from tasks.core.settings import Settings, read_settings
from tasks.lifeline import lost
from tasks.tracking import open_tracker

_OPEN = [StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.CANCELLING]


def end_lost_runs(settings: Settings) -> int:
    """End what says that it runs, and does not; return how many runs that were.

    Raises:
        TrackingError: MLflow cannot be reached; the runs are found again the next time.
    """
    count = 0
    for flow_run_id in lost(settings.home):
        _end_in_mlflow(settings, flow_run_id)
        with get_client(sync_client=True) as client:
            _end_in_prefect(client, UUID(flow_run_id))
        count += 1
    return count


def _end_in_mlflow(settings: Settings, flow_run_id: str) -> None:
    tracker = open_tracker(settings.tracking_uri, settings.artifact_root)
    for run in list(tracker.search_runs(tags={"radtrain.flow_run": flow_run_id})):
        for open_run in (run, *tracker.search_runs(tags={"mlflow.parentRunId": run.run_id})):
            if open_run.status == "RUNNING":
                tracker.abandon_run(open_run.run_id, status="KILLED", cause="lost")


def _end_in_prefect(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    """End a flow run, and the tasks that it was at; one of another server is none of ours."""
    try:
        state = client.read_flow_run(flow_run_id).state
    except ObjectNotFound:
        return
    tasks = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])),
        task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=OfType(any_=_OPEN))),
    )
    for task in tasks:
        client.set_task_run_state(task.id, Crashed(message="Lost with its flow run."), force=True)
    if state is None or state.is_final():
        return
    if state.is_cancelling():
        client.set_flow_run_state(flow_run_id, Cancelled(message="Its process was gone."), force=True)
        return
    said = (
        "The run was lost: its process was killed, or the machine went down. What was finished is kept: "
        f"prefect flow-run retry {flow_run_id} goes on from there, and so does the next run."
    )
    client.set_flow_run_state(flow_run_id, Crashed(message=said), force=True)


def main() -> int:
    """End the lost runs of RADTRAIN_HOME, and return the exit code."""
    try:
        end_lost_runs(read_settings(os.environ))
    except RadtrainError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command of its own
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
