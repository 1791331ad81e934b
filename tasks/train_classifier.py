"""Stage: features -> model. Writes the plan, has the worker train by it, and reports the operating point.

In: one disease's manifest and the features. Out: its folder of the run with plan, history, head and model.
"""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.core.plan import Plan
from tasks.store import write_json
from tasks.worker import BackboneKey, SpaceKey, Trained, Worker, train


@task(name="train-classifier", task_run_name="train {plan.disease}", cache_policy=NO_CACHE)
def train_classifier(
    worker: Worker, plan: Plan, folder: Path, manifest: Path, key: BackboneKey, features: SpaceKey
) -> Trained:
    """Train one classifier.

    Raises:
        WorkerDied: the process that trained was ended.
        StorageError: the home folder cannot be written.
    """
    write_json(folder / "plan.json", plan.to_json())
    return worker.ask(train, folder, manifest, key, features)
