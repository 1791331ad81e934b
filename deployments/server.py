"""The way to the Prefect server: its work pool, and each deployment as it stands there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.workers.process import ProcessWorker

from deployments.automations import plan_automations
from deployments.planned import Deployment, plan_deployments
from deployments.schedules import read_schedules
from infra.stack import POOL
from tasks.core.catalog import load_catalog
from tasks.core.errors import CatalogError, ServerError, did_you_mean, first_line


def register(catalog: Path | None, *, say: Callable[[str], None]) -> None:
    """Tell the server every deployment and automation.

    Args:
        catalog: folder of the user's own catalog.
        say: takes a line about each thing of the user's that could not stay as it was.

    Raises:
        CatalogError: the catalog or its schedules are wrong.
        ServerError: the server does not answer, or refuses.
    """
    planned = plan_deployments(load_catalog(catalog))
    schedules = read_schedules(catalog)
    _require_known(schedules, planned)
    with get_client(sync_client=True) as client:
        try:
            _make_pool(client)
            numbers: dict[str, UUID] = {}
            for deployment in planned:
                name = deployment.full_name
                numbers[name] = _register(client, deployment, schedules.get(name), say)
            for automation in plan_automations(numbers):
                _automate(client, automation)
        except httpx.HTTPError as error:
            raise ServerError(
                "The Prefect server did not take the deployments.",
                where=client.api_url,
                expected="a server of Prefect 3.8 that answers",
                received=first_line(error),
                fix="start it (radtrain up), or correct PREFECT_API_URL",
            ) from error


def _make_pool(client: SyncPrefectClient) -> None:
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        description = "Runs of radtrain, each a process of the worker's machine."
        client.create_work_pool(
            WorkPoolCreate(
                name=POOL, type=ProcessWorker.type, description=description, base_job_template=template
            )
        )


def _register(
    client: SyncPrefectClient,
    deployment: Deployment,
    schedule: CronSchedule | None,
    say: Callable[[str], None],
) -> UUID:
    """Make a deployment; of one that is there, change what follows from the catalog and leave the rest as it is.

    Creating it once more would remove its schedules.
    """
    ours: dict[str, Any] = {
        "description": deployment.description,
        "entrypoint": deployment.entrypoint,
        "work_pool_name": POOL,
        "parameter_openapi_schema": dict(deployment.schema),
        "enforce_parameter_schema": True,
        "pull_steps": [],
    }
    try:
        there = client.read_deployment_by_name(deployment.full_name)
    except ObjectNotFound:
        return client.create_deployment(
            flow_id=client.create_flow_from_name(deployment.flow.name),
            name=deployment.name,
            parameters=dict(deployment.parameters),
            tags=list(deployment.tags),
            schedules=[] if schedule is None else [DeploymentScheduleCreate(schedule=schedule)],
            **ours,
        )
    try:
        client.update_deployment(there.id, DeploymentUpdate(**ours))
    except PrefectHTTPStatusError as error:
        if error.response.status_code != httpx.codes.CONFLICT:
            raise
        client.update_deployment(there.id, DeploymentUpdate(parameters=dict(deployment.parameters), **ours))
        say(
            f"{deployment.full_name}: its defaults are the catalog's again, which no longer allows those that were set"
        )
    return there.id


def _automate(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Make an automation, or bring it up to date; one that was switched off stays off."""
    there = client.read_automations_by_name(automation.name)
    if there:
        client.update_automation(there[0].id, automation.model_copy(update={"enabled": there[0].enabled}))
    else:
        client.create_automation(automation)


def _require_known(schedules: dict[str, CronSchedule], planned: list[Deployment]) -> None:
    known = [deployment.full_name for deployment in planned]
    unknown = sorted(set(schedules) - set(known))
    if unknown:
        raise CatalogError(
            f"A schedule names no deployment.{did_you_mean(unknown[0], known)}",
            where="schedules.toml",
            expected=", ".join(known),
            received=", ".join(unknown),
            fix="correct the name, or remove the line",
        )
