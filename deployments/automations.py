"""What happens by itself when something else did: comparing after a training, and an end for runs that lost their process.

In: the deployments as the server knows them. Out: records of Prefect, which `server` tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

#: Of heartbeats, which come every 30 s, ten; and what a worker may take to start a process on a busy machine.
PATIENCE = timedelta(minutes=5)
#: How long an event that comes again is known to be the same.
_ONCE = timedelta(minutes=10)
#: Every name that a flow of ours ends in, and those that Prefect itself gives.
_ENDS = frozenset(
    f"prefect.flow-run.{name}"
    for name in (
        *("Completed", "Failed", "Crashed", "Cancelled", "TimedOut"),
        *("Unchanged", "Refused", "Changed", "Settling", "Quiet"),
    )
)
_BEGINNINGS = frozenset({"prefect.flow-run.Running", "prefect.flow-run.Cancelling"})
_HEARTBEAT = "prefect.flow-run.heartbeat"


def plan_automations(
    deployments: Mapping[str, UUID], *, patience: timedelta = PATIENCE
) -> Iterator[AutomationCore]:
    """Yield every automation; they name deployments by number, so those must be registered.

    Args:
        deployments: number of each deployment that was registered, by its full name.
        patience: how long nothing may be heard of a run before it is taken to be dead.
    """
    for name, number in deployments.items():
        flow, _, pair = name.partition("/")
        second = pair.partition("-vs-")[2]
        if flow == "compare-profiles" and f"train-all/{second}" in deployments:
            yield _after_training(second, name, number)
    ours: dict[str, Any] = {
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "match_related": _of(deployments.values()),
        "for_each": {"prefect.resource.id"},
        "posture": Posture.Proactive,
        "within": patience,
    }
    yield AutomationCore(
        name="radtrain: end runs whose process is gone",
        description="A run at work says so twice a minute. One that stopped saying it was killed, or its machine is gone.",
        trigger=EventTrigger(after={_HEARTBEAT}, expect={_HEARTBEAT, *_ENDS}, **ours),
        actions=[
            _crashed(
                "Nothing was heard of its process any more. What was finished is kept: a retry goes on from there."
            )
        ],
    )
    yield AutomationCore(
        name="radtrain: end runs that never began",
        description="A worker took the run and was killed before a process of it came to be.",
        trigger=EventTrigger(after={"prefect.flow-run.Pending"}, expect={*_BEGINNINGS, *_ENDS}, **ours),
        actions=[_crashed("Its worker took it and never began. Nothing is lost: a retry starts it again.")],
    )


def _after_training(profile: str, compare: str, compare_id: UUID) -> AutomationCore:
    """Return the automation that compares after a training with a profile, by a deployment or by a command.

    It goes by the name that the flow gives each run, which begins with the profile. A command's run has no deployment,
    and with a tag it would ask the server before each task whether that may start.
    """
    return AutomationCore(
        name=f"radtrain: {compare} after train-all/{profile}",
        description="Compare as soon as there is something new to compare. A run that found nothing changed starts nothing.",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*", "prefect.resource.name": f"{profile} *"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": "train-all"},
            expect={"prefect.flow-run.Completed"},
            # Once for each run: on a busy SQLite database Prefect hands the same event out again.
            for_each={"prefect.resource.id"},
            within=_ONCE,
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            RunDeployment(source="selected", deployment_id=compare_id, parameters=None, job_variables=None)
        ],
    )


def _crashed(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message=message, force=False)


def _of(deployments: Iterable[UUID]) -> dict[str, str | list[str]]:
    return {
        "prefect.resource.role": "deployment",
        "prefect.resource.id": [f"prefect.deployment.{number}" for number in deployments],
    }
