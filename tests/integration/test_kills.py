"""What is killed, and what is lost by it: nothing. Every row of the table in docs/explanation/what-survives.md.

Four rows run with `make test-all` only: each costs a minute, and the others kill the same processes and more.
"""

from __future__ import annotations

import os
import signal
from uuid import UUID

import psutil
import pytest
from prefect.states import Cancelling

from tests.integration.stacks import DISEASES, Ground, until

#: Long enough to be killed in: 200 epochs of some 20 ms.
LONG = {"epochs": 200}
_SEEDS = iter(range(1000, 2000))


def begin(ground: Ground) -> UUID:
    """Start a run and wait until its first disease is finished and another one trains."""
    seed = next(_SEEDS)
    flow_run_id = ground.start("train-all/fast", seed=seed, overrides=LONG)
    until(lambda: ground.finished(flow_run_id), "a finished disease", within_s=180)
    known = set(ground.home.glob("checkpoints/*/epoch-*"))
    until(lambda: set(ground.home.glob("checkpoints/*/epoch-*")) - known, "another epoch")
    return flow_run_id


def trainer(ground: Ground, flow_run_id: UUID) -> psutil.Process:
    """Return the process that holds TensorFlow."""
    return next(
        process
        for process in ground.flow_processes(flow_run_id)
        if "spawn_main" in " ".join(process.cmdline())
    )


def flow(ground: Ground, flow_run_id: UUID) -> psutil.Process:
    parent = trainer(ground, flow_run_id).parent()
    assert parent is not None
    return parent


def goes_on(ground: Ground, flow_run_id: UUID) -> None:
    """Try the run again, and see that it does only what was not done."""
    done = ground.finished(flow_run_id)
    assert done
    assert len(done) < len(DISEASES)
    before = ground.run_of(flow_run_id)
    assert before is not None
    assert before.info.status in ("KILLED", "FAILED")
    said = ground.prefect("flow-run", "retry", str(flow_run_id))
    assert said.returncode == 0, said.stdout + said.stderr
    ground.ended(flow_run_id, within_s=120)
    assert ground.state(flow_run_id) == "Completed", ground.flow_run(flow_run_id).state
    run = ground.run_of(flow_run_id)
    assert run is not None
    assert run.info.run_id == before.info.run_id
    assert run.info.status == "FINISHED"
    assert sorted(run.data.tags["radtrain.unchanged"].split(", ")) == sorted(done)
    assert sorted(ground.finished(flow_run_id)) == sorted(DISEASES)
    resumed = [
        found.data.metrics["train/resumed_after"]
        for found in ground.runs()
        if found.data.tags.get("mlflow.parentRunId") == run.info.run_id
        and found.info.status == "FINISHED"
        and found.data.tags["radtrain.disease"] not in done
    ]
    assert any(epoch > 0 for epoch in resumed)


def nothing_runs(ground: Ground) -> None:
    assert not [run for run in ground.runs() if run.info.status == "RUNNING"]


@pytest.mark.full
def test_the_process_that_trains(ground: Ground):
    flow_run_id = begin(ground)
    trainer(ground, flow_run_id).kill()
    until(lambda: ground.state(flow_run_id) == "Completed", "the run")
    retried = [
        run for run in ground.runs() if run.data.tags.get("radtrain.retried", "").startswith("SIGKILL")
    ]
    assert len(retried) == 1
    assert retried[0].data.metrics["train/resumed_after"] > 0
    nothing_runs(ground)


@pytest.mark.full
def test_the_process_of_the_flow(ground: Ground):
    flow_run_id = begin(ground)
    of_run = ground.flow_processes(flow_run_id)
    flow(ground, flow_run_id).kill()
    until(lambda: ground.state(flow_run_id) == "Crashed", "a state that says so")
    _, living = psutil.wait_procs(of_run, timeout=20)
    assert not living
    ground.up()
    goes_on(ground, flow_run_id)
    nothing_runs(ground)


@pytest.mark.full
def test_the_worker(ground: Ground):
    flow_run_id = begin(ground)
    os.kill(ground.pid("worker"), signal.SIGKILL)
    until(
        lambda: not ground.flow_processes(flow_run_id), "an end of the run that nobody watches", within_s=20
    )
    ground.up()
    assert ground.state(flow_run_id) == "Crashed"
    goes_on(ground, flow_run_id)
    nothing_runs(ground)


@pytest.mark.full
def test_the_prefect_server(ground: Ground):
    """The run outlives it if the server is back in time; otherwise it is tried again."""
    flow_run_id = begin(ground)
    os.kill(ground.pid("prefect"), signal.SIGKILL)
    ground.up()
    until(lambda: ground.state(flow_run_id) in ("Completed", "Crashed"), "an end", within_s=120)
    if ground.state(flow_run_id) == "Crashed":
        goes_on(ground, flow_run_id)
    assert sorted(ground.finished(flow_run_id)) == sorted(DISEASES)
    nothing_runs(ground)


def test_everything_at_once(ground: Ground):
    flow_run_id = begin(ground)
    for process in ground.processes():
        process.kill()
    until(lambda: not ground.processes(), "silence", within_s=20)
    ground.up()
    assert ground.state(flow_run_id) == "Crashed"
    goes_on(ground, flow_run_id)
    nothing_runs(ground)


def test_a_cancelled_run_stops_within_40_s_and_leaves_no_orphan(ground: Ground):
    flow_run_id = begin(ground)
    of_run = ground.flow_processes(flow_run_id)
    assert len(of_run) >= 2
    with ground.client() as client:  # as the button of the page does
        client.set_flow_run_state(flow_run_id, Cancelling())
    _, living = psutil.wait_procs(of_run, timeout=40)
    assert not living
    until(lambda: ground.state(flow_run_id) == "Cancelled", "a state that says so", within_s=20)
    goes_on(ground, flow_run_id)
    nothing_runs(ground)


@pytest.fixture(autouse=True)
def _all_is_up(ground: Ground):
    ground.up()
