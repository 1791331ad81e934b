"""Stage: a trained teacher -> its scores of the training rows, which a distilled student is fitted to.

In: the work of the student and of its teacher, and MLflow. Out: per disease the teacher, or why there is none.
Validation and test rows are never shown to the teacher here: the student is chosen and measured on labels alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.build_manifest import DiseaseManifest
from tasks.compute import score
from tasks.core.errors import RadtrainError
from tasks.core.plan import Plan
from tasks.extract_features import Wanted
from tasks.feature_spaces import FeatureSpaces
from tasks.files import read_json
from tasks.plan_run import Work
from tasks.store import disease_folder, read_rows, write_table
from tasks.tracked_run import Found
from tasks.tracking import Tracker
from tasks.worker import Worker


class TeacherMissing(RadtrainError):
    """A distilled profile has no teacher that was trained on the same manifest."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained classifier that a student learns from.

    Attributes:
        folder: of its run.
        digest: sha256 of its trained weights; part of the student's plan.
        spaces: where its features are cached.
        images: of the training rows, in their order.
    """

    folder: Path
    digest: str
    spaces: FeatureSpaces
    images: tuple[str, ...]

    def wanted(self) -> Wanted:
        """Return what must be cached before it can be asked."""
        return Wanted(self.spaces, {self.spaces.plain: self.images}, ())


def find_teacher(work: Work, teacher: Work, tracker: Tracker, manifest: DiseaseManifest) -> Teacher:
    """Return the last completed run of the teacher's profile on the same manifest.

    Args:
        work: of the student.
        teacher: of the teacher's profile.
        tracker: where runs are recorded.
        manifest: of the disease.

    Raises:
        TeacherMissing: there is none, its folder is gone, or it was trained on another backbone.
        TrackingError: MLflow cannot be reached.
    """
    disease, profile = manifest.disease, teacher.request.profile
    tags = {
        "radtrain.profile": profile,
        "radtrain.disease": disease,
        "radtrain.manifest": manifest.digest,
    }
    completed = (run for run in tracker.search_runs(tags=tags) if _is_usable(run))
    found = next(completed, None)
    repeat = teacher.request.repeat(disease, work.settings)
    if found is None:
        raise TeacherMissing(
            f"The profile '{work.request.profile}' learns from '{profile}', which was not trained on these images.",
            where=disease,
            expected=f"a completed run of {profile} on manifest {manifest.digest[:12]}",
            received="none",
            fix=repeat,
        )
    folder = disease_folder(work.settings.home, found.parent or found.run_id, disease)
    spaces = teacher.spaces(disease)
    if not (folder / "trained.npz").exists() or not (folder / "plan.json").exists():
        raise _unusable(profile, disease, "its folder is gone", repeat)
    if Plan.from_json(read_json(folder / "plan.json")).features != spaces.plain.digest():
        raise _unusable(profile, disease, "it has another backbone than the profile has now", repeat)
    images = read_rows(manifest.path, "train").images
    return Teacher(folder, found.tags["radtrain.trained"], spaces, tuple(images))


@task(name="ask-teachers", cache_policy=NO_CACHE)
def ask_teachers(worker: Worker, home: Path, run_id: str, teachers: Mapping[str, Teacher]) -> None:
    """Write the teacher's score of every training row into each disease's folder of the run.

    Raises:
        StorageError: the home folder cannot be written.
        WorkerDied: the process that scores was ended.
    """
    for disease, teacher in teachers.items():
        scores, _ = worker.ask(score, teacher.folder, teacher.spaces, list(teacher.images))
        table = pa.table({"image": list(teacher.images), "score": scores})
        write_table(disease_folder(home, run_id, disease) / "teacher.parquet", table)


def _is_usable(run: Found) -> bool:
    return run.status == "FINISHED" and "radtrain.trained" in run.tags


def _unusable(profile: str, disease: str, why: str, repeat: str) -> TeacherMissing:
    return TeacherMissing(
        f"The last run of the teacher '{profile}' cannot be asked: {why}.",
        where=disease,
        expected="the folder that the run left in the home folder, with the profile as it is now",
        received=why,
        fix=repeat,
    )
