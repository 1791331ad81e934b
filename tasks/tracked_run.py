"""A run of MLflow as a record: one that was found there, and one that is over before it is logged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Found:
    """A run as MLflow has it.

    Attributes:
        run_id: of MLflow.
        status: RUNNING, FINISHED, FAILED or KILLED.
        started: ms since 1970.
        parent: id of the run that it is shown below; None where there is none.
        tags: as they were logged.
        params: as they were logged, as text.
        metrics: the last value of each.
    """

    run_id: str
    status: str
    started: int
    parent: str | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that is over before it is logged.

    Attributes:
        name: of the run.
        tags: besides those that every run has.
        params: as `Tracker.log` takes them.
        metrics: as `Tracker.log` takes them.
        began: seconds since 1970.
        duration_s: of the run.
        status: FINISHED, FAILED or KILLED.
    """

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    began: float
    duration_s: float
    status: str
