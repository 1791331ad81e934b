"""Stage: features -> model. Writes the plan, has the worker train by it, and reports the operating point.

In: one disease's manifest and the features. Out: its folder of the run with plan, history, trained weights and model.
"""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.checkpoints import checkpoint_folder
from tasks.compute import Trained, explain_death, train
from tasks.core.plan import Plan
from tasks.feature_spaces import FeatureSpaces
from tasks.store import write_json
from tasks.worker import Worker, WorkerDied


@task(name="train-classifier", task_run_name="train {plan.disease}", cache_policy=NO_CACHE)
def train_classifier(
    worker: Worker, plan: Plan, folder: Path, manifest: Path, spaces: FeatureSpaces, home: Path
) -> Trained:
    """Train one classifier; a training of this plan that was broken off goes on.

    Raises:
        OutOfMemory: a step takes more than there is; or its process was killed, which is likely for that reason.
        TrainingDiverged: the loss is not finite.
        WorkerDied: the process that trained was ended.
        StorageError: the home folder cannot be written.
    """
    write_json(folder / "plan.json", plan.to_json())
    try:
        return worker.ask(train, folder, manifest, spaces, checkpoint_folder(home, plan.digest()))
    except WorkerDied as death:
        if not death.killed:
            raise
        raise worker.ask(explain_death, plan, spaces.backbone, death.cause) from death
