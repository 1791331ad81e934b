"""The work of `radtrain train fast --force` without Prefect: the same stages as plain functions, a thread per disease.

    python -m tests.benchmarks.plain_orchestration --data DIR --catalog DIR --home DIR

What `tests/benchmarks/orchestration.py` compares the command with: no server, no flow, no task run. What is shown in
Prefect alone is left out, and so are locks, forecasts and whatever deals with failure: the first one ends the run.
In: images, a catalog, a home folder. Out: MLflow runs, the files of the run, and the report as JSON on stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tasks.core.settings import Settings, read_settings, silence
from tasks.files import prepare_home
from tasks.worker import Worker, start_worker

if TYPE_CHECKING:
    from tasks.core.report import Report


def main() -> None:
    """Train on all diseases of a catalog, and print the report."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for place in ("data", "catalog", "home"):
        ask.add_argument(f"--{place}", required=True)
    said = ask.parse_args()
    silence(os.environ)
    settings = read_settings(os.environ, data=said.data, catalog=said.catalog, home=said.home)
    prepare_home(settings.home)
    with start_worker(settings.home) as worker:
        report = _train(settings, worker)
    print(json.dumps(report.to_json()))


def _train(settings: Settings, worker: Worker) -> Report:
    """Do what `flows/train_all.py` does where nothing fails; imports stand here, beside those of the worker."""
    from flows.validate_data import as_function, check_images
    from tasks.checkpoints import checkpoint_folder, forget_checkpoints
    from tasks.core.report import Outcome, Report
    from tasks.evaluate_classifier import evaluate_classifier
    from tasks.extract_features import extract_features
    from tasks.files import write_json
    from tasks.judge_data import accept_data
    from tasks.outcomes import completed_outcome
    from tasks.plan_run import Request, plan_run
    from tasks.publish_check import publish_check
    from tasks.record_run import close_run, connect, open_run, record_disease
    from tasks.store import disease_folder, image_paths
    from tasks.train_classifier import train_classifier

    _leave_out_pages()
    began = time.perf_counter()
    uri, artifacts, home = settings.tracking_uri, settings.artifact_root, settings.home
    with ThreadPoolExecutor(32) as threads:
        work = plan_run(Request("fast", (), 0, (), force=True), settings, worker)
        connecting = threads.submit(connect.fn, uri, artifacts)
        checked = check_images(work.look(), step=as_function)
        connecting.result()
        recording = open_run.fn(uri, artifacts, "train-all/fast", "fast")
        publishing = threads.submit(publish_check.fn, work.look(), checked.report, recording)
        paths = {key: image_paths(manifest.path) for key, manifest in checked.manifests.items()}
        extraction = extract_features.fn(
            worker,
            work.root,
            {image: path for some in paths.values() for image, path in some.items()},
            [work.wanted(manifest) for manifest in checked.manifests.values()],
            limit=settings.cache_limit,
        )
        publishing.result()

        def train(key: str) -> Outcome:
            """Take one disease through its line: train, evaluate, record, accept."""
            manifest, spaces = checked.manifests[key], work.spaces(key)
            plan, folder = work.plan(manifest, ""), disease_folder(home, recording.run_id, key)
            verdict = next(verdict for verdict in checked.report.verdicts if verdict.disease == key)
            limit_s = work.training_limit_s(None)
            trained = train_classifier.fn(worker, plan, folder, manifest.path, spaces, home, limit_s, None)
            evaluated = evaluate_classifier.fn(worker, plan, folder, manifest, verdict, spaces, trained)
            recorded = record_disease.fn(recording, plan, folder, verdict, trained, evaluated)
            accept_data.fn(work.look(), manifest)
            forget_checkpoints(checkpoint_folder(home, plan.digest()))
            seconds = trained.duration_s + evaluated.duration_s + recorded.duration_s
            cached = extraction.cached_share(list(paths[key]))
            return completed_outcome(verdict, manifest, evaluated.test, seconds, cached, recorded.run_id, "")

        outcomes = tuple(threads.map(train, checked.manifests))
        seconds = time.perf_counter() - began
        costs = {**(checked.scan.costs() if checked.scan else {}), **extraction.costs()}
        close_run.fn(recording, work, outcomes, {"duration_s": seconds, **costs})
    folder = home / "runs" / recording.run_id
    report = Report(recording.run_id, "fast", outcomes, seconds, uri, str(folder))
    write_json(folder / "report.json", report.to_json())
    return report


def _leave_out_pages() -> None:
    """Switch off what is shown in Prefect's pages alone: it would ask for a server."""
    for stage, name, nothing in (
        ("publish_check", "create_table_artifact", lambda **_: None),
        ("publish_check", "create_link_artifact", lambda **_: None),
        ("train_classifier", "showing_progress", lambda *_: contextlib.nullcontext()),
    ):
        setattr(importlib.import_module(f"tasks.{stage}"), name, nothing)


if __name__ == "__main__":
    main()
