"""`make bench`: a step of the intensive profile against the plain Keras recipe, on the same images and cores, as ratios.

    python -m tests.benchmarks.intensive [--images N] [--repeats N] [--baseline PATH] [--keep DIR]

Draws phantoms of one disease, then alternates the recipe (training through the whole network) and `radtrain train
intensive` with random weights: speed does not depend on them. Seconds per step of the recipe are the difference of
a long and a short run, so that neither imports nor tracing count; those of radtrain are, for a first epoch, a batch
through the frozen layers and a step of the tail, for a cached one the step alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

from tasks.core.catalog import load_catalog
from tasks.draw_phantoms import write_phantoms
from tests.benchmarks.against_plain_keras import BASELINE
from tests.benchmarks.measure import run
from tests.phantom_data import write_catalog

DISEASE = "pneumonia"
PROFILE = '[profiles.intensive]\nweights = "random"\n'
SHORT, LONG = 4, 20
BATCH = load_catalog().profile("intensive").batch_size


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--images", type=int, default=800, help="(800)")
    ask.add_argument("--repeats", type=int, default=1, help="(1)")
    ask.add_argument("--baseline", type=Path, default=BASELINE, help="the plain recipe")
    ask.add_argument("--keep", type=Path, help="where the drawn images are kept for the next time")
    said = ask.parse_args()
    plain, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data = (said.keep or place) / f"phantoms-{said.images}-one"
        write_phantoms(data, patients=said.images // 2, side=256, diseases=(DISEASE,))
        catalog = write_catalog(place / "catalog", (DISEASE,), profile=PROFILE)
        for repeat in range(said.repeats):
            if said.baseline.is_file():
                plain.append(_plain(said.baseline, data / DISEASE))
            ours.append(_radtrain(data, catalog, place / f"home-{repeat}"))
    _show(said, plain, ours)


def _plain(script: Path, folder: Path) -> float:
    """Return seconds per step."""
    words = [sys.executable, str(script), str(folder), "--profile", "intensive", "--weights", "none"]
    took = []
    for steps in (SHORT, LONG):
        done = run(
            [*words, "--epochs", "1", "--repeat", "--steps", str(steps)], {"TF_CPP_MIN_LOG_LEVEL": "3"}
        )
        took.append(json.loads(done.out.splitlines()[-1])["fit_s"])
    return (took[1] - took[0]) / (LONG - SHORT)


def _radtrain(data: Path, catalog: Path, home: Path) -> tuple[float, float, float, float]:
    """Return seconds of a step in a first epoch and in one from the cache, and what was expected and taken in all."""
    from mlflow import MlflowClient

    words = ["train", "intensive", "--disease", DISEASE, "--data", data, "--catalog", catalog, "--home", home]
    figures = ["--set", "epochs=3", "--set", f"steps_per_epoch={LONG}", "--json"]
    done = run([sys.executable, "-m", "flows.cli", *map(str, words), *figures])
    report = json.loads(done.out.splitlines()[-1])
    client = MlflowClient(report["tracking_uri"])
    whole = client.get_run(report["run_id"]).data.metrics
    image_s = whole["features/compute_s"] / whole["features/rows_computed"]
    epochs = client.get_metric_history(report["diseases"][DISEASE]["run_id"], "epoch/duration_s")
    step_s = statistics.median(epoch.value for epoch in epochs if epoch.step > 1) / LONG
    took = whole["features/duration_s"] + report["diseases"][DISEASE]["seconds"]
    return BATCH * image_s + step_s, step_s, whole["expected_s"], took


def _show(
    said: argparse.Namespace, plain: list[float], ours: list[tuple[float, float, float, float]]
) -> None:
    first, cached, expected, took = (list(column) for column in zip(*ours, strict=True))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, DenseNet121 at 224 px, batches of {BATCH}, {said.repeats} runs"
    )
    print("| a step of | s | share of the plain recipe |\n|---|---|---|")
    recipe = statistics.median(plain) if plain else None
    if recipe is None:
        print(f"| plain Keras recipe | not found at {said.baseline} | |")
    else:
        print(f"| plain Keras recipe | {recipe:.2f} | 1 |")
    for name, steps in (("radtrain, first epoch", first), ("radtrain, cached variants", cached)):
        step = statistics.median(steps)
        print(f"| {name} | {step:.3f} | {f'1/{recipe / step:.1f}' if recipe else ''} |")
    shares = [one / other for one, other in zip(took, expected, strict=True)]
    print(f"A run took {statistics.median(shares):.2f} of what it was expected to take (median).")


if __name__ == "__main__":
    main()
