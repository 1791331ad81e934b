"""What starts by itself on a real server: training after new images, comparing after training, an end for dead runs."""

from __future__ import annotations

import os
import shutil
import signal
from datetime import timedelta

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Pending

from deployments.automations import plan_automations
from tests.integration.stacks import Ground, until


def events(ground: Ground, name: str) -> list[dict]:
    wanted = {"filter": {"event": {"name": [name]}}, "limit": 50}
    said = httpx.post(f"{ground.api}/events/filter", json=wanted, timeout=30)
    return said.raise_for_status().json()["events"]


def look(ground: Ground) -> FlowRun:
    found = ground.ended(ground.start("watch-folders/all"))
    assert found.state is not None
    assert found.state.is_completed(), found.state.message
    return found


def test_new_images_are_trained_once_they_have_settled(ground: Ground):
    assert look(ground).state.message == "Seen for the first time: cardiomegaly, arthritis, pneumonia."
    image = next(path for path in (ground.data / "arthritis").rglob("*.png"))
    shutil.copy(image, image.with_name("new.png"))
    assert look(ground).state.name == "Settling"
    before = ground.runs_of("train-all/fast")
    changed = look(ground)
    assert changed.state.name == "Changed"
    assert "arthritis" in changed.state.message
    assert "pneumonia" not in changed.state.message
    (started,) = [one for one in ground.runs_of("train-all/fast") if one not in before]
    assert started.parameters == {"profile": "fast", "diseases": ["arthritis"]}
    trained = ground.ended(started.id)
    assert trained.state.is_completed(), trained.state.message
    assert ground.finished(started.id) == ["arthritis"]
    (event,) = until(lambda: events(ground, "radtrain.data.changed"), "an event")
    assert event["resource"]["prefect.resource.id"] == "radtrain.disease.arthritis"
    assert event["payload"]["files"] == event["payload"]["before"] + 1


def test_profiles_are_compared_after_a_training_of_the_second_one(ground: Ground):
    """The fast one was trained on arthritis before, so one disease can be compared."""
    assert not ground.runs_of("compare-profiles/fast-vs-intensive")
    trained = ground.ended(ground.start("train-all/intensive", diseases=["arthritis"]))
    assert trained.state.name == "Completed", trained.state.message
    compared = until(lambda: ground.runs_of("compare-profiles/fast-vs-intensive"), "a comparison")[0]
    assert compared.created_by.type == "AUTOMATION"
    compared = ground.ended(compared.id)
    assert compared.state.is_completed(), compared.state.message
    (event,) = until(lambda: events(ground, "radtrain.champion.changed"), "an event")
    assert event["resource"]["prefect.resource.id"] == "radtrain.disease.arthritis"
    assert event["payload"]["profile"] in ("fast", "intensive")
    unchanged = ground.ended(ground.start("train-all/intensive", diseases=["arthritis"]))
    assert unchanged.state.name == "Unchanged"
    assert len(ground.runs_of("compare-profiles/fast-vs-intensive")) == 1


def test_a_training_by_a_command_sets_off_a_comparison_too(ground: Ground):
    """Where the stack is up, a command runs in it."""
    before = {run.id for run in ground.runs_of("compare-profiles/fast-vs-intensive")}
    done = ground.radtrain("train", "intensive", "--disease", "arthritis", "--seed", "7", "--set", "epochs=1")
    assert done.returncode == 0, done.stderr

    def new() -> list[FlowRun]:
        return [run for run in ground.runs_of("compare-profiles/fast-vs-intensive") if run.id not in before]

    compared = until(new, "another comparison")[0]
    assert compared.created_by.type == "AUTOMATION"
    assert ground.ended(compared.id).state.is_completed()


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
    os.kill(ground.pid("worker"), signal.SIGKILL)
    flow_run_id = ground.start("validate-data/all")
    with ground.client() as client:  # as a worker does that took it
        client.set_flow_run_state(flow_run_id, Pending())
    found = ground.ended(flow_run_id, within_s=60)
    assert found.state.name == "Crashed"
    assert "never began" in found.state.message


def test_an_automation_that_was_switched_off_stays_off(ground: Ground):
    name = "radtrain: end runs that never began"
    with ground.client() as client:
        (there,) = client.read_automations_by_name(name)
        client.pause_automation(there.id)
    ground.register()
    with ground.client() as client:
        (there,) = client.read_automations_by_name(name)
        assert there.enabled is False
        assert there.trigger.within == timedelta(minutes=5)
