"""Stage: ablation -> where people look: a child run of MLflow for each arm, a table in Prefect, a file of the run.

In: the ablation. Out: its JSON. What leaves this machine carries figures, counts, digests and keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.core.ablation import Ablation, Measured
from tasks.core.ablation_table import lever_rows
from tasks.files import write_json
from tasks.record_run import Recording

_TAGS = {"radtrain.not_for_diagnosis": "true"}
#: Of an arm's JSON, what is a metric in MLflow, as it is named there.
METRICS = {
    "speedup": "ablation/speedup",
    "speedup_per_image": "ablation/speedup_per_image",
    "speedup_of_processor": "ablation/speedup_of_processor",
    "report_size_s": "ablation/report_size_s",
    "here_s": "ablation/here_s",
    "step_s": "ablation/step_s",
    "steps": "ablation/steps",
    "image_s": "ablation/image_s",
    "processor_image_s": "ablation/processor_image_s",
    "epoch_s": "ablation/epoch_s",
    "epochs": "ablation/epochs",
    "fit_s": "ablation/fit_s",
    "extraction_s": "ablation/extraction_s",
    "spread": "ablation/spread",
    "parameters": "ablation/parameters",
    "trainable_parameters": "ablation/trainable_parameters",
}


@task(name="record-ablation", cache_policy=NO_CACHE)
def record_ablation(recording: Recording, ablation: Ablation, folder: Path) -> Path:
    """Log every arm below the parent run, the table to that, and show it in Prefect; return the JSON file.

    Raises:
        TrackingError: MLflow cannot be reached or written.
        StorageError: the home folder cannot be written.
    """
    tracker, run_id = recording.tracker, recording.run_id
    content = ablation.to_json()
    for found in ablation.arms.values():
        tags = {**_TAGS, "radtrain.disease": ablation.ground.disease, "radtrain.arm": found.arm.key}
        child = tracker.start_run(found.arm.key, tags=tags, parent=run_id)
        said = content["arms"][found.arm.key]
        tracker.log(child, params=_params(found), metrics=dict(_metrics(found, said)))
        tracker.end_run(child, completed=True)
    file = write_json(folder / "ablation.json", content)
    tracker.log_files(run_id, [file])
    ground = {name: content[name] for name in ("disease", "manifest", "seed", "quick", "passes", "cores")}
    tracker.log(
        run_id,
        params={**ground, "processor": ablation.ground.processor, "sentence": content["sentence"]},
        metrics=dict(_lever_metrics(content["levers"])),
        tags={"radtrain.disease": ablation.ground.disease},
    )
    create_table_artifact(table=lever_rows(ablation), key="speed-ablation", description=content["sentence"])
    create_link_artifact(
        link=tracker.link(run_id), link_text="the run in MLflow", key="speed-ablation-in-mlflow"
    )
    return file


def _params(found: Measured) -> dict[str, Any]:
    figures = found.arm.figures.model_dump()
    figures["weights"] = Path(figures["weights"]).name  # its place on this machine is nobody's business
    moved = figures.pop("augmentation")
    return {
        **{f"figures.{name}": value for name, value in figures.items()},
        **{f"figures.augmentation.{name}": value for name, value in moved.items()},
        "features": found.arm.features,
        "shared_with": found.shared_with or "",
    }


def _metrics(found: Measured, said: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, metric in METRICS.items():
        if said[name] is not None:
            yield metric, said[name]
    yield "ablation/peak_memory_mib", found.typical.peak_bytes / 2**20
    yield "ablation/imported_memory_mib", found.typical.imported_bytes / 2**20
    if found.auroc is not None:
        if not math.isnan(found.auroc.value):
            yield "validation/auroc", found.auroc.value
        yield "validation/auroc_n", found.auroc.n
        if found.auroc.low is not None and found.auroc.high is not None:
            yield "validation/auroc_low", found.auroc.low
            yield "validation/auroc_high", found.auroc.high


def _lever_metrics(levers: dict[str, dict[str, Any]]) -> Iterator[tuple[str, float]]:
    for key, row in levers.items():
        yield f"claimed/{key}", row["claimed"]
        yield f"measured/{key}", row["measured"]
        yield f"measured_per_image/{key}", row["measured_per_image"]
        yield f"so_far/{key}", row["so_far_measured"]
