"""What a completed run left in its folder of the home folder: its plan, its evaluation, the scores of its test rows.

In: the folder. Out: one record, or the reason why there is none. Scores and patients stay on this machine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from data_checks.report import Audited
from tasks.core.metrics import Estimate
from tasks.core.plan import Plan
from tasks.files import read_json
from tasks.store import LabelledRows, read_table

#: Below the folder: weights of what was trained, and the whole model.
TRAINED, MODEL = "trained.npz", "model"


class UnreadableRun(Exception):
    """The folder of a run does not hold what the run left there; says in a few words what is the matter."""


@dataclass(frozen=True, slots=True, eq=False)
class RunFolder:
    """One completed run of one disease.

    Attributes:
        path: of the folder.
        plan: that it was trained by.
        rows: of the test split, in the order of their images.
        scores: (n,) float32, 0-1, of these rows.
        threshold: the operating point, from validation rows.
        estimates: every metric on the test rows.
        shortcuts: the audit of its manifest.
        model_bytes: of the model's files.
    """

    path: Path
    plan: Plan
    rows: LabelledRows
    scores: np.ndarray
    threshold: float
    estimates: dict[str, Estimate]
    shortcuts: tuple[Audited, ...]
    model_bytes: int


def read_run_folder(path: Path) -> RunFolder:
    """Read what a comparison needs of a run; its model is not loaded.

    Raises:
        UnreadableRun: the folder or a file of it is gone, damaged, or of another version.
    """
    if not path.is_dir():
        raise UnreadableRun("its folder is not in this home folder")
    for name in ("plan.json", "evaluation.json", "scores.parquet", TRAINED, MODEL):
        if not (path / name).exists():
            raise UnreadableRun(f"{name} is gone from its folder")
    try:
        return _read(path)
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        names = {
            ValidationError: "plan.json is of another version",
            json.JSONDecodeError: "a file is damaged",
        }
        said = names.get(type(error), "a file of its folder is damaged, or of another version")
        raise UnreadableRun(said) from error


def _read(path: Path) -> RunFolder:
    evaluation = read_json(path / "evaluation.json")
    table = read_table(path / "scores.parquet", ["image", "group", "label", "score"])
    rows = LabelledRows(
        table["image"].to_pylist(), table["label"].to_numpy().astype(np.float32), table["group"].to_pylist()
    )
    return RunFolder(
        path=path,
        plan=Plan.from_json(read_json(path / "plan.json")),
        rows=rows,
        scores=table["score"].to_numpy().astype(np.float32),
        threshold=float(evaluation["operating_point"]["threshold"]),
        estimates={name: Estimate.from_json(said) for name, said in evaluation["test"].items()},
        shortcuts=tuple(Audited(**said) for said in evaluation["shortcuts"]),
        model_bytes=sum(file.stat().st_size for file in (path / MODEL).rglob("*") if file.is_file()),
    )
