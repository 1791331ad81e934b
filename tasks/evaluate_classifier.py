"""Stage: model -> evaluation. Reads the test rows, once, and measures the scores at the operating point.

In: the trained weights, the operating point from validation rows, the manifest. Out: `evaluation.json`,
`evaluation.png`, `scores.parquet` (local only) and the model's card.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_checks.report import Verdict
from tasks.build_manifest import DiseaseManifest
from tasks.compute import Trained, score
from tasks.core.card import write_card
from tasks.core.figures import evaluation_figure
from tasks.core.metrics import Estimate, measure
from tasks.core.plan import Plan
from tasks.feature_spaces import FeatureSpaces
from tasks.files import write_atomically, write_json
from tasks.store import read_rows, write_table
from tasks.worker import Worker

#: Drawing holds the interpreter's lock: five pictures at once take longer than one after the other.
_DRAWING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Every test metric with its 95 % interval (resampled by patient) and n, and the seconds it took, waiting for others not counted."""

    test: dict[str, Estimate]
    duration_s: float


@task(name="evaluate-classifier", task_run_name="evaluate {plan.disease}", cache_policy=NO_CACHE)
def evaluate_classifier(
    worker: Worker,
    plan: Plan,
    folder: Path,
    manifest: DiseaseManifest,
    verdict: Verdict,
    spaces: FeatureSpaces,
    trained: Trained,
) -> Evaluated:
    """Measure one classifier on the test rows at the operating point that validation rows fixed."""
    rows = read_rows(manifest.path, "test")
    scores, scoring_s = worker.ask_soon(score, folder, spaces, rows.images)
    began = time.perf_counter()
    point = trained.operating_point
    estimates = measure(rows.labels, scores, rows.groups, threshold=point.threshold, seed=plan.seed)
    measuring_s = time.perf_counter() - began
    with _DRAWING:
        began = time.perf_counter()
        picture = evaluation_figure(
            rows.labels,
            scores,
            estimates=estimates,
            operating_point=point,
            title=f"{plan.title}: {plan.profile}, test rows",
        )
    write_atomically(folder / "evaluation.png", lambda file: file.write(picture))
    content = {
        "not_for_diagnosis": True,
        "disease": plan.disease,
        "profile": plan.profile,
        "plan_digest": plan.digest(),
        "manifest_digest": plan.manifest_digest,
        "operating_point": dataclasses.asdict(point),
        "test": {name: estimate.to_json() for name, estimate in estimates.items()},
        "findings": [finding.tracked() for finding in verdict.findings],
        "shortcuts": [audited.to_json() for audited in verdict.audit],
    }
    write_json(folder / "evaluation.json", content)
    card = write_card(plan, estimates, point, verdict)
    write_atomically(folder / "card.md", lambda file: file.write(card.encode()))
    table = pa.table({"image": rows.images, "group": rows.groups, "label": rows.labels, "score": scores})
    write_table(folder / "scores.parquet", table)
    return Evaluated(estimates, scoring_s + measuring_s + time.perf_counter() - began)
