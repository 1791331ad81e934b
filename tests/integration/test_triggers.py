"""What starts by itself on a real server: training after new images, comparing after training, an end for dead runs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Pending

from deployments.automations import plan_automations
from tests.integration.stacks import Ground, until


def runs_of(ground: Ground, deployment: str) -> list[FlowRun]:
    with ground.client() as client:
        found = client.read_deployment_by_name(deployment)
        wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[found.id]))
        return client.read_flow_runs(flow_run_filter=wanted)


def ended(ground: Ground, flow_run_id: UUID, within_s: float = 150) -> FlowRun:
    def over() -> bool:
        state = ground.flow_run(flow_run_id).state
        return state is not None and state.is_final()

    until(over, "an end of the run", within_s=within_s)
    return ground.flow_run(flow_run_id)


def events(ground: Ground, name: str) -> list[dict]:
    wanted = {"filter": {"event": {"name": [name]}}, "limit": 50}
    said = httpx.post(f"{ground.api}/events/filter", json=wanted, timeout=30)
    return said.raise_for_status().json()["events"]


def look(ground: Ground) -> FlowRun:
    found = ended(ground, ground.start("watch-folders/all"))
    assert found.state is not None
    assert found.state.is_completed(), found.state.message
    return found


def test_new_images_are_trained_once_they_have_settled(ground: Ground):
    assert look(ground).state.message == "Seen for the first time: cardiomegaly, arthritis, pneumonia."
    image = next(path for path in (ground.data / "arthritis").rglob("*.png"))
    shutil.copy(image, image.with_name("new.png"))
    assert look(ground).state.name == "Settling"
    before = runs_of(ground, "train-all/fast")
    changed = look(ground)
    assert changed.state.name == "Changed"
    assert "arthritis" in changed.state.message
    assert "pneumonia" not in changed.state.message
    (started,) = [one for one in runs_of(ground, "train-all/fast") if one not in before]
    assert started.parameters == {"profile": "fast", "diseases": ["arthritis"]}
    trained = ended(ground, started.id)
    assert trained.state.is_completed(), trained.state.message
    assert ground.finished(started.id) == ["arthritis"]
    (event,) = until(lambda: events(ground, "radtrain.data.changed"), "an event")
    assert event["resource"]["prefect.resource.id"] == "radtrain.disease.arthritis"
    assert event["payload"]["files"] == event["payload"]["before"] + 1


def test_profiles_are_compared_after_a_training_of_the_second_one(ground: Ground):
    """The fast one was trained on arthritis before, so one disease can be compared."""
    assert not runs_of(ground, "compare-profiles/fast-vs-intensive")
    trained = ended(ground, ground.start("train-all/intensive", diseases=["arthritis"]))
    assert trained.state.name == "Completed", trained.state.message
    compared = until(lambda: runs_of(ground, "compare-profiles/fast-vs-intensive"), "a comparison")[0]
    assert compared.created_by.type == "AUTOMATION"
    compared = ended(ground, compared.id)
    assert compared.state.is_completed(), compared.state.message
    (event,) = until(lambda: events(ground, "radtrain.champion.changed"), "an event")
    assert event["resource"]["prefect.resource.id"] == "radtrain.disease.arthritis"
    assert event["payload"]["profile"] in ("fast", "intensive")
    unchanged = ended(ground, ground.start("train-all/intensive", diseases=["arthritis"]))
    assert unchanged.state.name == "Unchanged"
    assert len(runs_of(ground, "compare-profiles/fast-vs-intensive")) == 1


@pytest.fixture
def impatient(ground: Ground) -> None:
    """Automations that wait 10 s, the least there is, instead of minutes."""
    with ground.client() as client:
        numbers = {
            name: client.read_deployment_by_name(name).id
            for name in ("train-all/fast", "validate-data/all", "watch-folders/all")
        }
        for automation in plan_automations(numbers, patience=timedelta(seconds=10)):
            there = client.read_automations_by_name(automation.name)
            if there:
                client.update_automation(there[0].id, automation)


@pytest.mark.usefixtures("impatient")
def test_a_run_whose_worker_died_before_it_began_is_ended(ground: Ground):
    ground.radtrain("status")
    subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(ground.pid("worker"))], check=True)
    flow_run_id = ground.start("validate-data/all")
    with ground.client() as client:  # as a worker does that took it
        client.set_flow_run_state(flow_run_id, Pending())
    found = ended(ground, flow_run_id, within_s=60)
    assert found.state.name == "Crashed"
    assert "never began" in found.state.message


def test_an_automation_that_was_switched_off_stays_off(ground: Ground):
    name = "radtrain: end runs that never began"
    with ground.client() as client:
        (there,) = client.read_automations_by_name(name)
        client.pause_automation(there.id)
    done = subprocess.run(
        [sys.executable, "-m", "deployments.register"],
        env={**ground.environment(), "PREFECT_API_URL": ground.api, "MLFLOW_TRACKING_URI": ground.tracking},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with ground.client() as client:
        (there,) = client.read_automations_by_name(name)
        assert there.enabled is False
        assert there.trigger.within == timedelta(minutes=5)
