"""`make bench`: radtrain against the plain Keras recipe, whole processes, on the same folders and cores, as ratios.

    python -m tests.benchmarks.against_plain_keras [--images N] [--repeats N] [--baseline PATH] [--keep DIR]

Draws phantoms of five diseases, then alternates: the recipe once per disease, radtrain with an empty home (cold),
radtrain again with another seed (warm). Both take the fast profile with random weights: speed does not depend on
them. Prints medians and ratios, and radtrain's peak memory at a tenth of the images and at all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from tasks.core.phantoms import DISEASES
from tasks.draw_phantoms import write_phantoms
from tests.benchmarks.measure import Measured, run
from tests.phantom_data import write_catalog

BASELINE = Path(__file__).parents[3] / "shared" / "baseline" / "plain_keras_recipe.py"
PROFILE = '[profiles.fast]\nweights = "random"\n'


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--images", type=int, default=2000, help="of each disease (2000)")
    ask.add_argument("--side", type=int, default=256, help="of the drawn images, px (256)")
    ask.add_argument("--repeats", type=int, default=1, help="(1)")
    ask.add_argument("--baseline", type=Path, default=BASELINE, help="the plain recipe")
    ask.add_argument("--keep", type=Path, help="where the drawn images are kept for the next time")
    said = ask.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        whole = _draw(said.keep or place, said.images, said.side)
        tenth = _draw(said.keep or place, said.images // 10, said.side)
        catalog = write_catalog(place / "catalog", DISEASES, profile=PROFILE)
        small = _radtrain(tenth, catalog, place / "home-small", seed=0, memory=True)
        large = _radtrain(whole, catalog, place / "home-large", seed=0, memory=True)
        plain, cold, warm = [], [], []
        for repeat in range(said.repeats):
            home = place / f"home-{repeat}"
            if said.baseline.is_file():
                plain.append([_plain(said.baseline, whole / disease) for disease in DISEASES])
            cold.append(_radtrain(whole, catalog, home, seed=0))
            warm.append(_radtrain(whole, catalog, home, seed=1))
            shutil.rmtree(home)
    _show(said, plain, cold, warm)
    print(
        f"peak memory of the process tree, cold: {small.peak_mib:.0f} MiB at a tenth, {large.peak_mib:.0f} MiB at all"
    )


def _draw(folder: Path, images: int, side: int) -> Path:
    data = folder / f"phantoms-{images}-{side}"
    write_phantoms(data, patients=images // 2, side=side)
    return data


def _plain(script: Path, folder: Path) -> Measured:
    options = ["--profile", "fast", "--weights", "none", "--alpha", "0.75"]
    return run([sys.executable, str(script), str(folder), *options], {"TF_CPP_MIN_LOG_LEVEL": "3"})


def _radtrain(data: Path, catalog: Path, home: Path, *, seed: int, memory: bool = False) -> Measured:
    words = ["train", "fast", "--data", data, "--catalog", catalog, "--home", home, "--seed", seed, "--json"]
    return run([sys.executable, "-m", "flows.cli", *map(str, words)], memory=memory)


def _show(
    said: argparse.Namespace, plain: list[list[Measured]], cold: list[Measured], warm: list[Measured]
) -> None:
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {said.images} images of each of {len(DISEASES)} diseases"
    )
    print("| what | wall s | share of the plain recipe |\n|---|---|---|")
    recipe = None
    if plain:
        recipe = statistics.median(sum(run.wall_s for run in runs) for runs in plain)
        print(f"| plain Keras recipe, one process per disease | {recipe:.1f} | 1 |")
    else:
        print(f"| plain Keras recipe | not found at {said.baseline} | |")
    for name, runs in (("radtrain, cold", cold), ("radtrain, warm, new seed", warm)):
        wall = statistics.median(run.wall_s for run in runs)
        print(f"| {name} | {wall:.1f} | {f'1/{recipe / wall:.1f}' if recipe else ''} |")
    report = json.loads(cold[-1].out.splitlines()[-1])
    again = json.loads(warm[-1].out.splitlines()[-1])
    print("cached share, warm:", {key: d["features_cached"] for key, d in again["diseases"].items()})
    print("flow seconds, cold and warm:", report["seconds"], again["seconds"])


if __name__ == "__main__":
    main()
