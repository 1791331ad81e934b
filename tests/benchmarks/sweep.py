"""How long a search takes: trials on made-up features of one disease, and the logging of each as a run.

    python -m tests.benchmarks.sweep [--images N] [--trials N] [--epochs N] [--unpruned]

All in one process, without server, worker and backbone. Prints seconds, processor seconds, and how busy the machine was.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from tasks.cache import SpaceKey
from tasks.core import sampling
from tasks.core.catalog import load_catalog
from tasks.core.profile import Augmentation
from tasks.core.search import best_trial
from tasks.core.search_space import search_space
from tasks.core.settings import silence
from tasks.feature_spaces import BackboneKey, FeatureSpaces
from tasks.store import write_table
from tasks.tracked_run import FinishedRun
from tasks.tracking import open_tracker
from tasks.trials import Search, run_trials

R = TypeVar("R")
CHANNELS = 1280
#: As the catalog divides images that no shipped split covers.
SHARES = {"train": 0.65, "validation": 0.15, "test": 0.20}


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--images", type=int, default=2000, help="of the disease, all splits (2000)")
    ask.add_argument("--trials", type=int, default=100, help="(100)")
    ask.add_argument("--epochs", type=int, default=3, help="of each training (3)")
    ask.add_argument("--unpruned", action="store_true", help="give no trial up")
    said = ask.parse_args()
    silence(os.environ)
    if said.unpruned:
        sampling.UNPRUNED = said.trials
    with tempfile.TemporaryDirectory() as folder:
        _measure(said, Path(folder))


def _measure(said: argparse.Namespace, folder: Path) -> None:
    search = _search(folder, said.images, said.epochs)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {said.images} images"
    )
    print("| what | s | processor s |\n|---|---|---|")
    done = _timed("first trial: imports, the network, a traced step", lambda: run_trials(search, (), 1))
    rest = _timed(
        f"the other {said.trials - 1} trials", lambda: run_trials(search, tuple(done), said.trials - 1)
    )
    tracker = open_tracker(f"sqlite:///{folder / 'mlflow.db'}", None)
    parent = tracker.start_run("benchmark", tags={})
    runs = [
        FinishedRun(
            name=f"trial {trial.number}",
            tags={"radtrain.disease": "pneumonia", "radtrain.manifest": "f" * 64},
            params={f"figures.{name}": value for name, value in trial.figures.items()},
            metrics={f"sweep/{name}": 0.5 for name in ("auroc", "low", "high", "loss", "n", "folds", "s")},
            began=trial.began,
            duration_s=trial.duration_s,
            status="FINISHED",
        )
        for trial in (*done, *rest)
    ]
    _timed(f"logging {len(runs)} runs", lambda: tracker.log_runs(runs, parent=parent))
    states = {
        state: sum(trial.state == state for trial in (*done, *rest)) for state in ("completed", "pruned")
    }
    folds = np.mean([trial.folds for trial in (*done, *rest)])
    best = best_trial([*done, *rest])
    print(
        f"{states}, {folds:.2f} folds trained to their end in a trial, a mean; load {os.getloadavg()[0]:.1f}"
    )
    print(
        f"AUROC as it is {done[0].auroc:.3f}, best {best.auroc:.3f} (trial {best.number}, {dict(best.figures)})"
    )


def _timed(what: str, work: Callable[[], R]) -> R:
    wall, busy = time.perf_counter(), time.process_time()
    result = work()
    print(f"| {what} | {time.perf_counter() - wall:.1f} | {time.process_time() - busy:.1f} |", flush=True)
    return result


def _search(folder: Path, images: int, epochs: int) -> Search:
    """Write features of patients with two images each, which tell a little of the label."""
    random = np.random.default_rng(2)
    patients = images // 2
    labels = np.repeat(random.integers(0, 2, patients), 2)
    features = random.normal(size=(2 * patients, CHANNELS)).astype(np.float32)
    features[:, :30] += labels[:, None] * 0.25
    names = [f"{n:064x}" for n in range(2 * patients)]
    key = SpaceKey(folder / "features", (("of", "a benchmark"),), (CHANNELS,), "float32")
    key.open().put(names, np.maximum(features, 0))
    splits = np.repeat(random.choice(list(SHARES), patients, p=list(SHARES.values())), 2)
    table = pa.table(
        {
            "image": names,
            "label": labels.astype(np.int8),
            "group": [f"patient {n // 2}" for n in range(2 * patients)],
            "split": splits.tolist(),
        }
    )
    figures = load_catalog().profile(
        "fast", {"image_side": 96, "alpha": 0.35, "weights": "random", "epochs": epochs}
    )
    return Search(
        disease="pneumonia",
        manifest=write_table(folder / "manifest.parquet", table),
        spaces=FeatureSpaces(
            BackboneKey("MobileNetV2", 96, 0.35, None, "random-0"), Augmentation(), key, key, (), False
        ),
        figures=figures,
        space=search_space(figures),
        seed=0,
    )


if __name__ == "__main__":
    main()
