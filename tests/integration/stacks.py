"""A stack of one's own for tests: real servers and a real worker on free ports, on drawn phantoms."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun

from infra.processes import free_port
from tests.phantom_data import draw, write_catalog

DISEASES = ("cardiomegaly", "arthritis", "pneumonia")
#: Only the diseases that are drawn: whoever starts a deployment names none.
_OFF = "".join(f"[diseases.{key}]\nenabled = false\n" for key in ("osteoporosis", "bone_fracture"))
_PROFILES = """
[profiles.fast]
alpha = 0.35
weights = "random"
image_side = 96

[profiles.intensive]
backbone = "MobileNetV2"
alpha = 0.35
weights = "random"
image_side = 96
precision = "float32"
epochs = 2
"""
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Ground:
    """A data root, a catalog, a home, two ports, and what else the environment says."""

    data: Path
    catalog: Path
    home: Path
    prefect_port: int
    mlflow_port: int
    more: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return {
            **plain,
            "RADTRAIN_HOME": str(self.home),
            "RADTRAIN_DATA": str(self.data),
            "RADTRAIN_CATALOG": str(self.catalog),
            "RADTRAIN_PREFECT_PORT": str(self.prefect_port),
            "RADTRAIN_MLFLOW_PORT": str(self.mlflow_port),
            "COLUMNS": "200",
            **self.more,
        }

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.prefect_port}/api"

    @property
    def tracking(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"

    def radtrain(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "radtrain"), *words],
            env={**self.environment(), **more},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    def up(self, *words: str) -> None:
        done = self.radtrain("up", *words)
        assert done.returncode == 0, done.stderr

    def prefect(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Prefect's own command as in a shell that took the lines of `radtrain status --env`."""
        lines = self.radtrain("status", "--env").stdout.splitlines()
        said = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        return subprocess.run(
            [str(BIN / "prefect"), *words],
            env={**self.environment(), **said, "PREFECT_HOME": str(self.home / "shell")},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    def pid(self, name: str) -> int:
        return json.loads((self.home / "stack" / "stack.json").read_text())[name]["process"]["pid"]

    def client(self) -> SyncPrefectClient:
        return SyncPrefectClient(self.api)

    def start(self, deployment: str, **parameters: Any) -> UUID:
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters).id

    def flow_run(self, flow_run_id: UUID) -> FlowRun:
        with self.client() as client:
            return client.read_flow_run(flow_run_id)

    def state(self, flow_run_id: UUID) -> str:
        state = self.flow_run(flow_run_id).state
        return state.name or "" if state else ""

    def has_ended(self, flow_run_id: UUID) -> bool:
        state = self.flow_run(flow_run_id).state
        return state is not None and state.is_final()

    def ended(self, flow_run_id: UUID, *, within_s: float = 150) -> FlowRun:
        """Wait for the end of a run, and return it."""
        until(lambda: self.has_ended(flow_run_id), "an end of the run", within_s=within_s, every_s=0.5)
        return self.flow_run(flow_run_id)

    def stop_watching(self) -> None:
        """Switch off the schedule by which the image folders are looked at."""
        with self.client() as client:
            watching = client.read_deployment_by_name("watch-folders/all")
            for schedule in watching.schedules:
                client.update_deployment_schedule(watching.id, schedule.id, active=False)

    def runs_of(self, deployment: str) -> list[FlowRun]:
        """Return all runs of a deployment, those that wait for their time too."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            chosen = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[found.id]))
            return client.read_flow_runs(flow_run_filter=chosen)

    def register(self) -> str:
        """Register all deployments once more, and return what was printed."""
        done = subprocess.run(
            [sys.executable, "-m", "deployments.register"],
            env={**self.environment(), "PREFECT_API_URL": self.api, "MLFLOW_TRACKING_URI": self.tracking},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def runs(self) -> list[Run]:
        client = MlflowClient(self.tracking)
        experiment = client.get_experiment_by_name("radtrain")
        return client.search_runs([experiment.experiment_id]) if experiment else []

    def run_of(self, flow_run_id: UUID) -> Run | None:
        of_it = [run for run in self.runs() if run.data.tags.get("radtrain.flow_run") == str(flow_run_id)]
        return of_it[0] if of_it else None

    def finished(self, flow_run_id: UUID) -> list[str]:
        """Return the diseases that a flow run has finished."""
        parent = self.run_of(flow_run_id)
        return [
            run.data.tags["radtrain.disease"]
            for run in self.runs()
            if parent
            and run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
            and run.info.status == "FINISHED"
        ]

    def processes(self, **marks: str) -> list[psutil.Process]:
        """Return every process that works for this home folder, and has these marks in its environment too."""
        wanted = {"RADTRAIN_HOME": str(self.home), **marks}
        found = []
        for process in psutil.process_iter():
            try:
                if wanted.items() <= process.environ().items() and process.status() != "zombie":
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def flow_processes(self, flow_run_id: UUID) -> list[psutil.Process]:
        """Return the processes of a flow run: Prefect's, the flow's, and the one that holds TensorFlow."""
        return self.processes(PREFECT__FLOW_RUN_ID=str(flow_run_id))


def make_ground(folder: Path, **more: str) -> Ground:
    data = draw(folder / "data", DISEASES)
    catalog = write_catalog(folder / "catalog", DISEASES, profile=_PROFILES)
    with (catalog / "diseases.toml").open("a") as file:
        file.write(_OFF)
    return Ground(data, catalog, folder / "home", free_port(), free_port(), more)


@contextlib.contextmanager
def standing(ground: Ground) -> Iterator[Ground]:
    """Have its stack up within this context, and see that `radtrain down` ends all of it."""
    ground.up()
    try:
        yield ground
    finally:
        ground.radtrain("down")
        left = ground.processes()
        for process in left:
            process.kill()
    assert not left


def until(condition: Callable[[], Any], what: str, *, within_s: float = 90, every_s: float = 0.1) -> Any:
    """Wait until something holds, and return what it came to."""
    ends = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < ends, f"not within {within_s:.0f} s: {what}"
        time.sleep(every_s)  # to ask a server costs 50 ms, which what is waited for needs itself
    return found
