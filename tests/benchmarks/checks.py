"""What the checks cost: judging many facts, checking again with nothing changed, and their share of a cold run.

    python -m tests.benchmarks.checks [--files N] [--images N] [--repeats N]

Facts of N synthetic files are judged in this process, after imports; phantoms are trained on with `radtrain train` in
processes of their own. Prints medians; only ratios of one run mean anything.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_checks.contract import FACTS, schema
from tasks.build_manifest import build_manifest
from tasks.core.catalog import load_catalog
from tasks.core.phantoms import DISEASES
from tasks.core.settings import read_settings
from tasks.draw_phantoms import write_phantoms
from tasks.judge_data import judge_data
from tasks.plan_check import plan_check
from tasks.scan_images import Scan
from tasks.store import write_table
from tests.benchmarks.measure import run
from tests.phantom_data import write_catalog

PROFILE = '[profiles.fast]\nweights = "random"\n'


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--files", type=int, default=20_000, help="whose facts are judged (20000)")
    ask.add_argument(
        "--images", type=int, default=2000, help="of each disease, for the share of a run (2000)"
    )
    ask.add_argument("--repeats", type=int, default=3, help="(3)")
    said = ask.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _judge_facts(place, said.files, said.repeats)
        _share_of_a_run(place, said.images, said.repeats)


def _judge_facts(place: Path, files: int, repeats: int) -> None:
    """Time manifest and judgement of synthetic facts, all imports done before."""
    catalog = write_catalog(place / "catalog", DISEASES, profile=PROFILE)
    (place / "data").mkdir()
    facts = write_table(place / "facts.parquet", _facts(files))
    built, judged, again = [], [], []
    for repeat in range(repeats + 1):  # the first one imports
        settings = read_settings(
            {}, data=str(place / "data"), home=str(place / f"home-{repeat}"), catalog=str(catalog)
        )
        look = plan_check(load_catalog(catalog), DISEASES, settings)
        scan = Scan(facts, files, 0, 0, 0.0)
        times = []
        for _ in range(2):
            began = time.perf_counter()
            manifests = build_manifest.fn(facts, look.diseases, look.split, settings.home)
            middle = time.perf_counter()
            report = judge_data.fn(look, [], scan, manifests)
            times.append((middle - began, time.perf_counter() - middle))
        if repeat:
            built.append(times[0][0])
            judged.append(times[0][1])
            again.append(sum(times[1]))
        assert report.reused
    print(
        f"{files} facts of {len(DISEASES)} diseases: manifests {statistics.median(built):.2f} s, judged "
        f"{statistics.median(judged):.2f} s by {report.expectations} expectations; again with nothing changed "
        f"{statistics.median(again):.2f} s"
    )


def _facts(files: int) -> pa.Table:
    """Facts as a scan would write them, every image a stranger to the others."""
    random = np.random.default_rng(0)
    typical = random.integers(20, 235, 64)
    rows = []
    for number in range(files):
        name = ("negative", "positive")[number % 2]
        thumbnail = np.clip(typical + random.normal(0, 25, 64), 0, 255).astype(np.uint8)
        rows.append(
            {
                "path": f"{DISEASES[number % len(DISEASES)]}/{name}/p{number // 10}_v{number}.png",
                "bytes": int(random.integers(20_000, 90_000)), "mtime_ns": number,
                "sha256": hashlib.sha256(str(number).encode()).hexdigest(), "format": "PNG",
                "width": int(random.integers(200, 400)), "height": int(random.integers(200, 400)), "mode": "L",
                "bits": 8, "mean": float(random.normal(120, 15)), "contrast": float(random.uniform(30, 70)),
                "black": 0.1, "white": 0.01, "border": random.integers(0, 60, 8).astype(np.uint8).tobytes(),
                "thumbnail": thumbnail.tobytes(), "phash": random.bytes(32),
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema(FACTS))


def _share_of_a_run(place: Path, images: int, repeats: int) -> None:
    """Time cold runs, and what of them the checks beyond reading and dividing the images take."""
    write_phantoms(place / "phantoms", patients=images // 2, side=256, diseases=DISEASES)
    catalog = write_catalog(place / "run-catalog", DISEASES, profile=PROFILE)
    shares, walls, checks = [], [], []
    for repeat in range(repeats):
        home = place / f"run-{repeat}"
        words = [
            "train",
            "fast",
            "--data",
            place / "phantoms",
            "--catalog",
            catalog,
            "--home",
            home,
            "--json",
        ]
        measured = run([sys.executable, "-m", "flows.cli", *map(str, words)], dict(os.environ))
        said = json.loads(measured.out.splitlines()[-1])
        spent = _check_seconds(home, said["run_id"])
        walls.append(measured.wall_s)
        checks.append(spent)
        shares.append(spent / (measured.wall_s - spent))
    print(
        f"cold run of {len(DISEASES)} x {images} images: {statistics.median(walls):.1f} s, of which judging "
        f"{statistics.median(checks):.1f} s: {statistics.median(shares):.1%} on top of the rest"
    )


def _check_seconds(home: Path, run_id: str) -> float:
    """Return the seconds of the check that are not those of reading the images."""
    from mlflow import MlflowClient

    metrics = MlflowClient(f"sqlite:///{home / 'mlflow.db'}").get_run(run_id).data.metrics
    return metrics["checks/duration_s"] - metrics["scan/duration_s"]


if __name__ == "__main__":
    main()
