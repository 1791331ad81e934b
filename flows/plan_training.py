"""What is known of a `train-all` before anything is trained; and that no other run is at the same training.

In: the work and what the checks left. Out: `Planned`: the plan of every disease that may go on, and which of them an
earlier run carried out.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from prefect import get_run_logger

from data_checks.report import Verdict
from flows.validate_data import Checked
from tasks.ask_teacher import Teacher, TeacherMissing, find_teacher
from tasks.build_manifest import DiseaseManifest
from tasks.core.plan import Plan
from tasks.find_runs import CompletedRun
from tasks.find_unchanged import find_unchanged
from tasks.lifeline import in_turn_at
from tasks.plan_run import Work
from tasks.plan_time import keep_time_limit
from tasks.progress import announce
from tasks.tracking import Tracker
from tasks.worker import Worker


@dataclass(frozen=True, slots=True)
class Planned:
    """What is known before anything is trained.

    Attributes:
        work: as it was cut to the time limit.
        checked: what the checks left.
        teachers: who each disease learns from.
        untaught: diseases that lack a teacher, with the reason.
        plans: of every disease that may go on.
        unchanged: earlier runs that trained by just these plans.
        claims: what keeps other runs from the diseases that are to be trained.
    """

    work: Work
    checked: Checked
    teachers: dict[str, Teacher]
    untaught: dict[str, TeacherMissing]
    plans: dict[str, Plan]
    unchanged: dict[str, CompletedRun]
    claims: dict[str, contextlib.ExitStack] = field(default_factory=dict)

    def verdict(self, disease: str) -> Verdict:
        """Return what the checks said of a disease."""
        return next(verdict for verdict in self.checked.report.verdicts if verdict.disease == disease)

    def to_train(self) -> dict[str, DiseaseManifest]:
        """Return the manifests of the diseases that nobody has trained in just this way."""
        return {key: self.checked.manifests[key] for key in self.plans if key not in self.unchanged}

    def give_up_claim(self, disease: str) -> None:
        """Let other runs at a disease; nothing happens where there is no claim."""
        if disease in self.claims:
            self.claims[disease].close()


@contextlib.contextmanager
def plan_training(
    worker: Worker, work: Work, checked: Checked, tracker: Tracker, *, began: float
) -> Iterator[Planned]:
    """Write the plans, and keep other runs within this context from what is to be trained by them.

    Where another run is at one of them, it is waited for: what it completes stands here too. Claims are staked in the
    order of the plans' digests, so that no two runs wait for each other.

    Args:
        worker: the process that holds TensorFlow, for the time that a step takes.
        work: what is asked for.
        checked: what the checks left.
        tracker: of earlier runs.
        began: when the run did, on the clock of `time.perf_counter`.

    Raises:
        StorageError: the home folder cannot be written.
        TrackingError: MLflow cannot be reached.
    """
    planned = _plan(worker, work, checked, tracker, began)
    home, awaited = work.settings.home, []
    with contextlib.ExitStack() as held:
        claims = {}
        for digest, key in sorted((planned.plans[key].digest(), key) for key in planned.to_train()):
            claims[key] = held.enter_context(contextlib.ExitStack())
            wait = functools.partial(_wait_for, key, awaited)
            claims[key].enter_context(in_turn_at(home, f"plan-{digest}", waiting=wait))
        if awaited and not work.request.force:
            planned = replace(planned, unchanged=find_unchanged(tracker, home, planned.plans))
        planned = replace(planned, claims=claims)
        for key in planned.unchanged:
            planned.give_up_claim(key)
        yield planned


def _wait_for(disease: str, awaited: list[str]) -> None:
    """Say that another run is at a disease, and note it."""
    sentence = f"another run trains {disease} in just this way: it is waited for"
    get_run_logger().info(sentence)
    announce(sentence)
    awaited.append(disease)


def _plan(worker: Worker, work: Work, checked: Checked, tracker: Tracker, began: float) -> Planned:
    """Write the plan of every disease that passed the checks, and see which of them was carried out before."""
    teachers, untaught = _find_teachers(work, tracker, checked.manifests)
    ready = {key: manifest for key, manifest in checked.manifests.items() if key not in untaught}
    work = keep_time_limit(worker, work, ready, spent_s=time.perf_counter() - began)
    plans = {
        key: work.plan(manifest, teachers[key].digest if key in teachers else "")
        for key, manifest in ready.items()
    }
    unchanged = {} if work.request.force else find_unchanged(tracker, work.settings.home, plans)
    return Planned(work, checked, teachers, untaught, plans, unchanged)


def _find_teachers(
    work: Work, tracker: Tracker, manifests: Mapping[str, DiseaseManifest]
) -> tuple[dict[str, Teacher], dict[str, TeacherMissing]]:
    """Return who each disease learns from, and why one cannot; both are empty for a profile without a teacher."""
    found: dict[str, Teacher] = {}
    missing: dict[str, TeacherMissing] = {}
    if work.teacher is None:
        return found, missing
    for key, manifest in manifests.items():
        try:
            found[key] = find_teacher(work, work.teacher, tracker, manifest)
        except TeacherMissing as error:
            missing[key] = error
    return found, missing
