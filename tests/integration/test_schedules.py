"""What happens by itself: a schedule fires, what a person changed in the page stays, two workers share the work."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.states import Scheduled

from infra.stack import POOL
from tests.integration.stacks import BIN, Ground, until


def deployment(ground: Ground, name: str) -> DeploymentResponse:
    with ground.client() as client:
        return client.read_deployment_by_name(name)


def only_schedule(ground: Ground, name: str) -> DeploymentSchedule:
    [schedule] = deployment(ground, name).schedules
    return schedule


def states(ground: Ground, flow_run_id: UUID) -> Counter[StateType]:
    """Return how often a run was in each state."""
    with ground.client() as client:
        return Counter(state.type for state in client.read_flow_run_states(flow_run_id))


def test_a_schedule_fires_by_itself(ground: Ground):
    validate = deployment(ground, "validate-data/all")
    soon = datetime.now(UTC) + timedelta(seconds=10)
    every = IntervalSchedule(interval=timedelta(seconds=30), anchor_date=soon)
    with ground.client() as client:
        [schedule] = client.create_deployment_schedules(validate.id, [(every, True)])
        # The server plans all runs once a minute, and every 5 s those of deployments that were just changed.
        client.update_deployment(validate.id, DeploymentUpdate(description=validate.description))

    def fired() -> list[FlowRun]:
        return [
            run
            for run in ground.runs_of("validate-data/all")
            if run.created_by
            and run.created_by.id == schedule.id
            and run.state
            and not run.state.is_scheduled()
        ]

    until(fired, "a run that nobody started", within_s=150, every_s=0.5)
    with ground.client() as client:
        client.delete_deployment_schedule(validate.id, schedule.id)
    run = fired()[0]
    assert run.auto_scheduled
    assert run.created_by is not None
    assert run.created_by.type == "SCHEDULE"
    until(lambda: all(ground.has_ended(each.id) for each in fired()), "its end", within_s=120, every_s=0.5)
    assert {ground.state(each.id) for each in fired()} == {"Completed"}
    assert states(ground, run.id)[StateType.RUNNING] == 1
    left = ground.runs_of("validate-data/all")
    of_it = {each.id for each in left if each.created_by and each.created_by.id == schedule.id}
    assert of_it == {each.id for each in fired()}  # without the schedule no more of them wait


def test_what_a_person_changed_in_the_page_stays(ground: Ground):
    """`radtrain up` registers all deployments again whenever it starts something."""
    paused, changed = deployment(ground, "train-all/fast"), deployment(ground, "train-all/intensive")
    hour = CronSchedule(cron="15 4 * * 6", timezone="Europe/Vienna")
    more = IntervalSchedule(interval=timedelta(days=1), anchor_date=datetime(2026, 1, 1, tzinfo=UTC))
    with ground.client() as client:
        count = len(client.read_deployments())
        client.pause_deployment(paused.id)
        client.update_deployment_schedule(
            changed.id, only_schedule(ground, "train-all/intensive").id, active=False, schedule=hour
        )
        client.create_deployment_schedules(changed.id, [(more, True)])
        client.update_deployment(changed.id, DeploymentUpdate(concurrency_limit=1))
        validate = deployment(ground, "validate-data/all")
        client.delete_deployment_schedule(validate.id, only_schedule(ground, "validate-data/all").id)
        client.update_deployment(validate.id, DeploymentUpdate(description="words of an older version"))
    before = {
        schedule.id: schedule.schedule for schedule in deployment(ground, "train-all/intensive").schedules
    }
    ground.register()
    again = deployment(ground, "train-all/fast")
    assert (again.id, again.paused) == (paused.id, True)
    assert [schedule.schedule for schedule in again.schedules] == [
        CronSchedule(cron="0 2 * * *", timezone="UTC")
    ]
    again = deployment(ground, "train-all/intensive")
    assert {schedule.id: schedule.schedule for schedule in again.schedules} == before
    assert {type(schedule.schedule): schedule.active for schedule in again.schedules} == {
        CronSchedule: False,
        IntervalSchedule: True,
    }
    assert hour in before.values()
    assert again.global_concurrency_limit is not None
    assert again.global_concurrency_limit.limit == 1
    again = deployment(ground, "validate-data/all")
    assert again.schedules == []
    assert again.description == validate.description  # what follows from the catalog is brought up to date
    with ground.client() as client:
        assert len(client.read_deployments()) == count


def test_a_default_that_the_catalog_no_longer_allows_goes_and_is_said_to_go(ground: Ground):
    validate = deployment(ground, "validate-data/all")
    with ground.client() as client:
        old = DeploymentUpdate(parameters={"diseases": ["gone"]}, enforce_parameter_schema=False)
        client.update_deployment(validate.id, old)
    assert ground.register() == (
        "validate-data/all: its defaults are the catalog's again, which no longer allows those that were set\n"
    )
    assert deployment(ground, "validate-data/all").parameters == {}
    assert ground.register() == ""


@pytest.fixture
def second_worker(ground: Ground, tmp_path: Path) -> Iterator[Path]:
    """Another worker of the same pool, started by hand; its log."""
    said = psutil.Process(ground.pid("worker")).environ()
    environment = {
        name: value for name, value in said.items() if not name.startswith("PREFECT_WORKER_WEBSERVER")
    }
    log = tmp_path / "second.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(BIN / "prefect"),
                "worker",
                "start",
                "--pool",
                POOL,
                "--type",
                "process",
                "--name",
                "second",
            ],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: b"started!" in log.read_bytes() or process.poll() is not None, "the second worker")
        assert process.poll() is None, log.read_text()
        yield log
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0, log.read_text()


def test_two_workers_run_each_run_once(ground: Ground, second_worker: Path):
    validate = deployment(ground, "validate-data/all")
    soon = datetime.now(UTC) + timedelta(seconds=2)  # both look for work meanwhile
    with ground.client() as client:
        started = [
            client.create_flow_run_from_deployment(
                validate.id, parameters={"diseases": [disease]}, state=Scheduled(scheduled_time=soon)
            ).id
            for disease in ("arthritis", "pneumonia")
        ]
    until(lambda: all(ground.has_ended(each) for each in started), "both runs", within_s=180, every_s=0.5)
    logs = (ground.home / "logs" / "worker-process.log").read_text() + second_worker.read_text()
    for flow_run_id in started:
        assert ground.state(flow_run_id) == "Completed"
        assert states(ground, flow_run_id)[StateType.RUNNING] == 1
        assert ground.flow_run(flow_run_id).run_count == 1
        recorded = [
            run for run in ground.runs() if run.data.tags.get("radtrain.flow_run") == str(flow_run_id)
        ]
        assert len(recorded) == 1
        assert logs.count(f"submitting flow run '{flow_run_id}'") >= 1
