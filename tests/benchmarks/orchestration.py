"""What orchestration costs: `radtrain train fast` against the same work without Prefect; and a deployment's way to its first step.

    python -m tests.benchmarks.orchestration [--images N] [--side PX] [--pairs N] [--runs N]

First alternates whole processes on phantoms of five diseases: the command, with its temporary server, and
`plain_orchestration`, each with an empty home (cold) and then again with --force (warm). Then starts a stack, which the
command joins (warm, in a stack), and runs train-all/fast there with all features cached; the times of its phases are
Prefect's. Prints medians, and the load they had.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psutil
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from infra.processes import free_port
from tasks.core.catalog import DEMO
from tasks.draw_phantoms import write_phantoms
from tests.benchmarks.measure import run
from tests.integration.stacks import BIN, Ground, until

#: What one run may cost in seconds, as a multiple of the same work without Prefect.
RATIO = 1.10
#: Seconds from a deployment's submission to the first training step, beyond what imports cost.
BEYOND_S = 12.0
PLAIN = "without Prefect"
COMMANDS = {
    "radtrain train": [str(BIN / "radtrain"), "train", "fast", "--force", "--json"],
    PLAIN: [sys.executable, "-m", "tests.benchmarks.plain_orchestration"],
}
#: What the process of a flow run imports before it says Running or soon after, and what the one that trains does.
IMPORTS = {
    "the flow's imports, alone": "import prefect.engine, flows.train_all; from mlflow import MlflowClient",
    "TensorFlow's imports, alone": "import keras; from mlflow import tensorflow",
}
_OWN = ("PREFECT_", "RADTRAIN_", "MLFLOW_")


@dataclass(frozen=True)
class Run:
    """One side, once.

    Attributes:
        wall_s: seconds from its start to its end.
        work_s: of them, those of the work, without starts and ends.
        processor_s: seconds of all its processes on all cores.
        others_s: seconds that the rest of the machine took meanwhile.
        auroc: on the test rows of each disease.
    """

    wall_s: float
    work_s: float
    processor_s: float
    others_s: float
    auroc: dict[str, float]


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--images", type=int, default=600, help="of each disease (600)")
    ask.add_argument("--side", type=int, default=256, help="of the drawn images, px (256)")
    ask.add_argument("--pairs", type=int, default=3, help="of both sides, cold and warm; 0 for none (3)")
    ask.add_argument("--runs", type=int, default=3, help="of the deployment; 0 for none (3)")
    said = ask.parse_args()
    for name in [name for name in os.environ if name.startswith(_OWN)]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "phantoms"
        write_phantoms(data, patients=said.images // 2, side=said.side)
        print(f"{platform.machine()}, {os.cpu_count()} cores, 5 diseases of {said.images} images, {_load()}")
        if said.pairs:
            _compare(Path(folder), data, said.pairs)
        if said.runs:
            _deploy(Path(folder), data, said.pairs, said.runs)


def _compare(place: Path, data: Path, pairs: int) -> None:
    """Alternate the two sides, and print what one takes of the other."""
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for pair in range(pairs):
        sides = list(COMMANDS)[:: -1 if pair % 2 else 1]
        homes = {side: place / f"home-{pair}-{number}" for number, side in enumerate(sides)}
        for condition in ("cold", "warm"):
            for side in sides:
                runs[condition, side].append(_run(side, data, homes[side]))
        for home in homes.values():
            shutil.rmtree(home)
    _print_sides(runs, pairs)


def _compare_in_stack(ground: Ground, place: Path, pairs: int) -> None:
    """Alternate the two sides where the command joins a stack that is up; both have all features."""
    homes = {"radtrain train": ground.home, PLAIN: place / "plain-home"}
    _run(PLAIN, ground.data, homes[PLAIN])
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for pair in range(pairs):
        for side in list(COMMANDS)[:: -1 if pair % 2 else 1]:
            runs["warm, in a stack", side].append(_run(side, ground.data, homes[side]))
    _print_sides(runs, pairs)


def _print_sides(runs: Mapping[tuple[str, str], list[Run]], pairs: int) -> None:
    """Print a table of both sides under each condition."""
    _require_same_work([one for some in runs.values() for one in some])
    print(
        "| features | what | s | of them the work | processor s | others' | ratio |\n|---|---|---|---|---|---|---|"
    )
    for (condition, side), some in runs.items():
        names = ("wall_s", "work_s", "processor_s", "others_s")
        cells = [_spread(getattr(one, name) for one in some) for name in names]
        print(f"| {condition} | {side} | {' | '.join(cells)} | {_ratio(some, runs[condition, PLAIN])} |")
    auroc = next(iter(runs.values()))[0].auroc
    said = ", ".join(f"{disease} {value:.4f}" for disease, value in auroc.items())
    print(f"medians of {pairs} (lowest to highest), {_load()}; test AUROC in each run: {said}", flush=True)


def _run(side: str, data: Path, home: Path) -> Run:
    places = {"--data": data, "--catalog": DEMO, "--home": home}
    words = [word for option, place in places.items() for word in (option, str(place))]
    before = _processor_s()
    done = run([*COMMANDS[side], *words])
    own, others = (after - then for after, then in zip(_processor_s(), before, strict=True))
    report = json.loads(done.out.splitlines()[-1])
    auroc = {disease: one["test"]["auroc"]["value"] for disease, one in report["diseases"].items()}
    return Run(done.wall_s, report["seconds"], own, others, auroc)


def _processor_s() -> tuple[float, float]:
    """Return the seconds of all children that have ended, and of theirs; and those of all other processes."""
    used, all_of_it = resource.getrusage(resource.RUSAGE_CHILDREN), psutil.cpu_times()
    own = used.ru_utime + used.ru_stime
    return own, all_of_it.user + all_of_it.nice + all_of_it.system - own


def _ratio(some: list[Run], plain: list[Run]) -> str:
    if some is plain:
        return "1"
    ratios = [one.wall_s / other.wall_s for one, other in zip(some, plain, strict=True)]
    met = "met" if statistics.median(ratios) <= RATIO else "missed"
    return f"{_spread(ratios, 2)}; at most {RATIO:.2f}: {met}"


def _require_same_work(runs: list[Run]) -> None:
    found = [one.auroc for one in runs if one.auroc != runs[0].auroc]
    if found or not runs[0].auroc:
        raise SystemExit(f"the two sides did not do the same work: {runs[0].auroc}, {found}")


def _deploy(place: Path, data: Path, pairs: int, runs: int) -> None:
    """Bring up a stack, have commands join it, start the deployment again and again, and print its phases."""
    ground = Ground(data, DEMO, place / "stack-home", free_port(), free_port())
    ground.up()
    try:
        _pause_schedules(ground)
        own = _submit_by_command(ground)
        if pairs:
            _compare_in_stack(ground, place, pairs)
        table: dict[str, list[float]] = defaultdict(list)
        for _ in range(runs):
            flow_run_id = ground.start("train-all/fast", force=True)
            _finish(ground, flow_run_id)
            for name, words in IMPORTS.items():
                table[name].append(run([sys.executable, "-c", words]).wall_s)
            for name, seconds in _phases(ground, flow_run_id).items():
                table[name].append(seconds)
    finally:
        ground.radtrain("down")
    print("| train-all/fast, features cached | s |\n|---|---|")
    names = list(IMPORTS)
    for name in [name for name in table if name not in names] + names:
        print(f"| {name} | {_spread(table[name])} |")
    beyond = [
        total - sum(alone)
        for total, *alone in zip(table["in all"], *(table[name] for name in names), strict=True)
    ]
    met = "met" if statistics.median(beyond) < BEYOND_S else "missed"
    print(f"| beyond these imports | {_spread(beyond)}; under {BEYOND_S:.0f} {met} |")
    print(
        f"medians of {runs} runs (lowest to highest), {_load()}; before that, `prefect deployment run` itself",
        end=" ",
    )
    print(f"took {own:.1f} s to submit a run (n=1)")


def _pause_schedules(ground: Ground) -> None:
    with ground.client() as client:
        for deployment in client.read_deployments():
            client.pause_deployment(deployment.id)


def _submit_by_command(ground: Ground) -> float:
    """Fill the cache by a run that Prefect's own command starts; return the seconds until it was submitted."""
    environment = {"PREFECT_API_URL": ground.api, "PREFECT_HOME": str(ground.home / "shell")}
    began = time.time()
    said = run([str(BIN / "prefect"), "deployment", "run", "train-all/fast"], environment)
    flow_run_id = UUID(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", said.out)[0])
    _finish(ground, flow_run_id)
    created = ground.flow_run(flow_run_id).created
    assert created is not None
    return created.timestamp() - began


def _finish(ground: Ground, flow_run_id: UUID) -> None:
    state = until(
        lambda: (one := ground.flow_run(flow_run_id).state) and one.is_final() and one, "an end", within_s=600
    )
    if not state.is_completed():
        raise SystemExit(f"the run of the deployment did not complete: {state.name}, {state.message}")


def _phases(ground: Ground, flow_run_id: UUID) -> dict[str, float]:
    """Return the seconds of each phase of a completed run, and of all of them up to the first training step."""
    with ground.client() as client:
        states = {state.name: state.timestamp for state in client.read_flow_run_states(flow_run_id)}
        tasks = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])), limit=200
        )
    created = ground.flow_run(flow_run_id).created
    training = [task for task in tasks if task.name.startswith("train ")]
    times = [
        created,
        states["Pending"],
        states["Running"],
        min(task.start_time for task in training if task.start_time),
        min(task.end_time - _duration(ground, flow_run_id, task.name) for task in training if task.end_time),
    ]
    names = (
        "submitted -> taken up by the worker",
        "-> Running: process started, flow imported",
        "-> first task `train ...`: data checked, features found",
        "-> first training step: TensorFlow imported, network built",
    )
    steps = zip(names, times, times[1:], strict=False)
    phases = {name: (after - before).total_seconds() for name, before, after in steps}
    return {**phases, "in all": sum(phases.values())}


def _duration(ground: Ground, flow_run_id: UUID, task: str) -> timedelta:
    """Return what a training took from its first step on, as MLflow has it."""
    parent = ground.run_of(flow_run_id)
    assert parent is not None
    (found,) = [
        one
        for one in ground.runs()
        if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id
        and task == f"train {one.data.tags['radtrain.disease']}"
    ]
    return timedelta(seconds=found.data.metrics["train/duration_s"])


def _spread(values: Iterable[float], digits: int = 1) -> str:
    """Return the median, and the lowest and the highest value."""
    some = sorted(values)
    return f"{statistics.median(some):.{digits}f} ({some[0]:.{digits}f}-{some[-1]:.{digits}f})"


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
