"""Stage: features -> model. Writes the plan, has the worker train by it, and reports the operating point.

In: one disease's manifest and the features. Out: its folder of the run with plan, history, trained weights and model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.checkpoints import checkpoint_folder
from tasks.compute import Trained, explain_death, train
from tasks.core.pace import Forecast
from tasks.core.plan import Plan
from tasks.feature_spaces import FeatureSpaces
from tasks.files import write_json
from tasks.show_progress import showing_progress
from tasks.worker import Worker
from tasks.worker_death import RequestDropped, WorkerDied


@task(name="train-classifier", task_run_name="train {plan.disease}", cache_policy=NO_CACHE)
def train_classifier(
    worker: Worker,
    plan: Plan,
    folder: Path,
    manifest: Path,
    spaces: FeatureSpaces,
    home: Path,
    limit_s: float,
    forecast: Forecast | None,
) -> Trained:
    """Train one classifier; a training of this plan that was broken off goes on, and one that dies is tried once more.

    Args:
        worker: the process that holds TensorFlow.
        plan: what to train.
        folder: of the disease, in the run's folder.
        manifest: file of the manifest.
        spaces: where its features are.
        home: the home folder, for checkpoints.
        limit_s: seconds that each try may take.
        forecast: of the whole run, for those who watch it; None where there is none.

    Raises:
        OutOfMemory: a step takes more than there is; or its process was killed twice, which is likely for that reason.
        TrainingDiverged: the loss is not finite.
        WorkerDied: the process that trained was ended, twice.
        StorageError: the home folder cannot be written.
    """
    write_json(folder / "plan.json", plan.to_json())
    checkpoints = checkpoint_folder(home, plan.digest())
    try:
        with showing_progress(plan, checkpoints, forecast):
            answer = worker.ask_twice(limit_s, train, folder, manifest, spaces, checkpoints)
    except RequestDropped:
        raise
    except WorkerDied as death:
        if not death.killed:
            raise
        raise worker.ask(explain_death, plan, spaces.backbone, death.cause) from death
    if answer.death is None:
        return answer.value
    get_run_logger().warning(
        "%s was tried twice: the first training ended by %s.", plan.disease, answer.death.cause
    )
    return replace(answer.value, retried=answer.death.cause)
