"""Completed runs of profiles as `train-all` leaves them, without training: MLflow's record, and the run's folder."""

from __future__ import annotations

import itertools
import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core.metrics import measure
from tasks.core.plan import Plan
from tasks.core.profile import Profile
from tasks.core.settings import Settings, read_settings
from tasks.files import write_json
from tasks.store import disease_folder, write_table
from tasks.tracking import Tracker, open_tracker

MANIFEST = "ab" * 32
_NUMBERS = itertools.count()
FIGURES = Profile(
    backbone="MobileNetV2",
    alpha=0.35,
    weights="random",
    image_side=64,
    dense_units=4,
    dropout=0.2,
    batch_size=16,
    epochs=2,
    steps_per_epoch=4,
    validation_steps=2,
    learning_rate=0.001,
)


@dataclass(frozen=True)
class TestRows:
    """Rows of a test split."""

    __test__ = False
    images: list[str]
    groups: list[str]
    labels: np.ndarray


def rows(count: int = 40, *, positives: int | None = None) -> TestRows:
    """Made rows, half of them positive unless said otherwise; two images per patient."""
    images = [f"{number:064x}" for number in range(count)]
    labels = np.zeros(count, np.float32)
    labels[: count // 2 if positives is None else positives] = 1
    return TestRows(images, [f"patient {number // 2}" for number in range(count)], labels)


def scores_of(test: TestRows, seed: int, *, noise: float = 0.35) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(0, noise, len(test.images))
    return np.clip(0.3 + 0.4 * test.labels + drawn, 0, 1).astype(np.float32)


@dataclass
class Home:
    """A home folder with runs in it, those of one disease unless said otherwise."""

    path: Path
    tracker: Tracker
    settings: Settings
    disease: str = "pneumonia"

    @classmethod
    def make(cls, path: Path, *, data: Path | None = None) -> Home:
        settings = read_settings({}, home=str(path), data=None if data is None else str(data))
        path.mkdir(parents=True, exist_ok=True)
        return cls(path, open_tracker(settings.tracking_uri, settings.artifact_root), settings)

    def for_another_disease(self) -> Home:
        """The same home, for a disease that has no runs yet: a new database takes 2 s."""
        return replace(self, disease=f"disease_{next(_NUMBERS)}")

    def parent(self, profile: str, diseases: str, plan: Plan, metrics: dict[str, float]) -> str:
        """A `train-all` of one profile."""
        run_id = self.tracker.start_run(f"train-all/{profile}", tags={"radtrain.profile": profile})
        figures = {f"figures.{name}": value for name, value in plan.figures.model_dump().items()}
        params = {**figures, "diseases": diseases, "weights_digest": plan.weights_digest}
        self.tracker.log(run_id, params=params, metrics=metrics)
        self.tracker.end_run(run_id, completed=True)
        return run_id

    def complete(
        self,
        profile: str,
        disease: str | None = None,
        *,
        seed: int = 0,
        manifest: str = MANIFEST,
        figures: Profile = FIGURES,
        test: TestRows | None = None,
        scores: np.ndarray | None = None,
        diseases: str | None = None,
        computed: float = 0,
        model: Path | None = None,
        trained: Sequence[np.ndarray] = (),
        **changes: Any,
    ) -> tuple[str, Path]:
        """A completed run of one disease; returns its id and its folder."""
        disease = disease or self.disease
        test = rows() if test is None else test
        plan = Plan(
            disease=disease,
            title=f"{disease} on made rows",
            profile=profile,
            figures=figures,
            wanted_sensitivity=0.9,
            seed=seed,
            manifest_digest=manifest,
            weights_digest="random-0",
            features="0" * 16,
            n_train=100,
            n_validation=20,
            n_test=len(test.images),
            versions={"radtrain": "0"},
        )
        plan = replace(plan, **changes)
        costs = {"features/rows_computed": computed}
        if computed:
            costs["features/compute_s"] = computed * 0.5
        parent = self.parent(profile, diseases or disease, plan, costs)
        folder = disease_folder(self.path, parent, disease)
        _write(folder, plan, test, scores_of(test, seed) if scores is None else scores, trained)
        if model is not None:
            shutil.copytree(model, folder / "model", dirs_exist_ok=True)
        tags = {
            "radtrain.disease": disease,
            "radtrain.profile": profile,
            "radtrain.manifest": manifest,
            "radtrain.plan": plan.digest(),
        }
        run_id = self.tracker.start_run(disease, tags=tags, parent=parent)
        params = {"seed": seed, "parameters": 1000, "trainable_parameters": 100}
        metrics = {"train/fit_s": 3.0 + seed, "train/peak_memory_mib": 512.0}
        self.tracker.log(run_id, params=params, metrics=metrics)
        self.tracker.end_run(run_id, completed=True)
        return run_id, folder

    def fail(self, profile: str, cause: str) -> str:
        """A run that failed."""
        disease = self.disease
        tags = {"radtrain.disease": disease, "radtrain.profile": profile, "radtrain.cause": cause}
        run_id = self.tracker.start_run(disease, tags=tags, parent=uuid.uuid4().hex)
        self.tracker.end_run(run_id, completed=False)
        return run_id


def _write(
    folder: Path, plan: Plan, test: TestRows, scores: np.ndarray, trained: Sequence[np.ndarray]
) -> None:
    write_json(folder / "plan.json", plan.to_json())
    estimates = measure(test.labels, scores, test.groups, threshold=0.5, seed=0, resamples=100)
    shortcut = {"probe": "thumbnail", "auroc": 0.6, "low": 0.5, "high": 0.7, "n": 120}
    content = {
        "operating_point": {"threshold": 0.5},
        "test": {name: estimate.to_json() for name, estimate in estimates.items()},
        "shortcuts": [shortcut],
    }
    write_json(folder / "evaluation.json", json.loads(json.dumps(content)))
    columns = {"image": test.images, "group": test.groups, "label": test.labels, "score": scores}
    write_table(folder / "scores.parquet", pa.table(columns))
    np.savez(folder / "trained.npz", *trained)
    (folder / "model").mkdir()
