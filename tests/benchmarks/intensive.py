"""`make bench`: a step and the first epoch of the intensive profile against the plain Keras recipe, as ratios.

    python -m tests.benchmarks.intensive [--images N] [--repeats N] [--baseline PATH] [--keep DIR]

Draws phantoms of one disease, then alternates the recipe (training through the whole network) with both of its loaders
and `radtrain train intensive`, all with random weights: speed does not depend on them. The loader `generator` is that of
the original script and augments as radtrain does; `tfdata` augments nothing.

A step of the recipe is the median from one end to the next. What radtrain does once (tracing, folding, checking bfloat16)
is told from what each image and step takes by a short and a long run. A first epoch has all of it: scoring of the validation
rows, and what happens once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from dataclasses import dataclass
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
LOADERS = ("tfdata", "generator")


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of a step once everything is traced, of a step from the cache (radtrain's), of the first epoch."""

    step_s: float
    cached_s: float
    epoch_s: float


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--images", type=int, default=800, help="(800)")
    ask.add_argument("--repeats", type=int, default=1, help="(1)")
    ask.add_argument("--baseline", type=Path, default=BASELINE, help="the plain recipe")
    ask.add_argument("--keep", type=Path, help="where the drawn images are kept for the next time")
    said = ask.parse_args()
    found: dict[str, list[Took]] = {}
    shares = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data = (said.keep or place) / f"phantoms-{said.images}-one"
        write_phantoms(data, patients=said.images // 2, side=256, diseases=(DISEASE,))
        catalog = write_catalog(place / "catalog", (DISEASE,), profile=PROFILE)
        for repeat in range(said.repeats):
            if said.baseline.is_file():
                for loader in LOADERS:
                    took = _plain(said.baseline, data / DISEASE, loader)
                    found.setdefault(f"plain Keras recipe, {loader}", []).append(took)
            took, share = _radtrain(data, catalog, place / f"home-{repeat}")
            found.setdefault("radtrain", []).append(took)
            shares.append(share)
    _show(said, found)
    print(f"A run took {statistics.median(shares):.2f} of what it was expected to take (median).")


def _plain(script: Path, folder: Path, loader: str) -> Took:
    words = ["-m", "tests.benchmarks.recipe_steps", str(script), str(folder), loader, str(LONG)]
    done = run([sys.executable, *words], {"TF_CPP_MIN_LOG_LEVEL": "3"})
    said = json.loads(done.out.splitlines()[-1])
    return Took(said["step_s"], said["step_s"], said["epoch_s"])


def _radtrain(data: Path, catalog: Path, home: Path) -> tuple[Took, float]:
    """Return what it took, and the share of what it was expected to take."""
    short, long = (_run(data, catalog, home.with_name(f"{home.name}-{n}"), n) for n in (SHORT, LONG))
    image_s = (long["features/compute_s"] - short["features/compute_s"]) / (
        long["features/rows_computed"] - short["features/rows_computed"]
    )
    once_s = short["features/compute_s"] - short["features/rows_computed"] * image_s
    step_s = (long["later_s"] - short["later_s"]) / (LONG - SHORT)
    trained = 3 * LONG * BATCH  # of the long run's rows; the others are for validation and test
    others = long["features/rows_computed"] - trained
    epoch_s = once_s + image_s * (LONG * BATCH + others) + long["first_s"]
    return Took(BATCH * image_s + step_s, step_s, epoch_s), long["took_s"] / long["expected_s"]


def _run(data: Path, catalog: Path, home: Path, steps: int) -> dict[str, float]:
    """Return the metrics of a run of three epochs, with seconds of the first epoch and of a later one."""
    from mlflow import MlflowClient

    words = ["train", "intensive", "--disease", DISEASE, "--data", data, "--catalog", catalog, "--home", home]
    figures = ["--set", "epochs=3", "--set", f"steps_per_epoch={steps}", "--json"]
    done = run([sys.executable, "-m", "flows.cli", *map(str, words), *figures])
    report = json.loads(done.out.splitlines()[-1])
    disease = report["diseases"][DISEASE]
    client = MlflowClient(report["tracking_uri"])
    metrics = client.get_run(report["run_id"]).data.metrics
    first, *later = client.get_metric_history(disease["run_id"], "epoch/duration_s")
    return {
        **metrics,
        "first_s": first.value,
        "later_s": statistics.mean(epoch.value for epoch in later),
        "took_s": metrics["features/duration_s"] + disease["seconds"],
    }


def _show(said: argparse.Namespace, found: dict[str, list[Took]]) -> None:
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, DenseNet121 at 224 px, "
        f"batches of {BATCH}, a first epoch of {LONG} steps, {said.repeats} run(s)"
    )
    ours = found.pop("radtrain")
    step, cached, epoch = (statistics.median(getattr(t, name) for t in ours) for name in Took.__slots__)
    print("| what | a step, s | from the cache, s | first epoch, s |\n|---|---|---|---|")
    print(f"| radtrain | {step:.3f} | {cached:.3f} | {epoch:.1f} |")
    for name, took in found.items():
        one, whole = (statistics.median(getattr(t, part) for t in took) for part in ("step_s", "epoch_s"))
        print(f"| {name} | {one:.3f} | | {whole:.1f} |")
        print(
            f"| radtrain's share of it | 1/{one / step:.1f} | 1/{one / cached:.1f} | 1/{whole / epoch:.1f} |"
        )
    if not found:
        print(f"The plain Keras recipe was not found at {said.baseline}.")


if __name__ == "__main__":
    main()
