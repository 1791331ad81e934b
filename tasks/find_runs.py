"""Stage: two profiles -> the runs of them that can be compared, disease by disease.

In: MLflow and the folders of the runs. Out: for each disease the runs of both sides, or the reason why there are none.
Reasons name profiles, digests, counts and commands: they may leave this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.core.comparison_request import check_words
from tasks.core.errors import ComparisonRefused, did_you_mean
from tasks.core.plan import Plan
from tasks.core.settings import Settings
from tasks.run_folder import RunFolder, UnreadableRun, read_run_folder
from tasks.store import disease_folder
from tasks.tracked_run import Found
from tasks.tracking import Tracker, open_tracker


@dataclass(frozen=True, slots=True, eq=False)
class CompletedRun:
    """A completed run of one profile on one disease: what MLflow has of it, and what its folder holds."""

    found: Found
    folder: RunFolder

    @property
    def plan(self) -> Plan:
        """The plan that it was trained by."""
        return self.folder.plan


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """What there is to compare on one disease.

    Attributes:
        disease: key.
        title: as the last run has it.
        sides: runs of the first and of the second profile, one per seed, newest first; empty where they cannot be
            compared.
        reason: why they cannot.
        warnings: what the reader must know.
    """

    disease: str
    title: str
    sides: tuple[tuple[CompletedRun, ...], ...] = ()
    reason: str = ""
    warnings: tuple[str, ...] = ()


class _CannotCompare(Exception):
    """A disease has nothing to compare; says why."""


@task(name="find-runs", cache_policy=NO_CACHE)
def find_runs(
    settings: Settings, first: str, second: str, diseases: Sequence[str] | None = None
) -> list[Match]:
    """Find the last completed run of each profile on each disease, and the other seeds of just that training.

    Args:
        settings: where MLflow and the home folder are.
        first: key of a profile.
        second: key of another one.
        diseases: keys; all that either profile was trained on where none is named.

    Returns:
        One match per disease, in the order of the catalog that the runs were trained with.

    Raises:
        ComparisonRefused: there is nothing to compare at all.
        TrackingError: MLflow cannot be reached.
    """
    check_words(first, second, diseases)
    tracker = open_tracker(settings.tracking_uri, settings.artifact_root)
    keys = list(dict.fromkeys(diseases or _trained_diseases(tracker, first, second)))
    matches = [_match(tracker, settings.home, key, (first, second)) for key in keys]
    if all(match.reason for match in matches):
        raise _refused(tracker, settings, (first, second), matches)
    return matches


def _match(tracker: Tracker, home: Path, disease: str, profiles: tuple[str, str]) -> Match:
    title, warnings = disease, []
    try:
        last = [_last_completed(tracker, profile, disease, warnings) for profile in profiles]
        opened = [
            _opened(home, found, profile, disease) for found, profile in zip(last, profiles, strict=True)
        ]
        title = opened[0].plan.title
        _require_same_manifest(opened)
        sides = tuple(
            tuple(_all_seeds(tracker, home, run, profile, warnings))
            for run, profile in zip(opened, profiles, strict=True)
        )
        _require_same_rows([run for side in sides for run in side])
    except _CannotCompare as why:
        return Match(disease, title, reason=str(why), warnings=tuple(warnings))
    return Match(disease, title, sides, warnings=tuple(warnings))


def _last_completed(tracker: Tracker, profile: str, disease: str, warnings: list[str]) -> Found:
    """Return the newest completed run; one that failed after it is warned of."""
    failed: Found | None = None
    for found in _runs(tracker, profile, disease):
        if found.status == "FINISHED" and "radtrain.plan" in found.tags:
            if failed is not None:
                warnings.append(
                    f"The last run of {profile} failed ({_cause(failed)}): the completed one before it is compared."
                )
            return found
        if found.status == "FAILED" and failed is None:
            failed = found
    if failed is None:
        raise _CannotCompare(f"{profile} was never trained on it: {_train(profile, disease)}")
    raise _CannotCompare(
        f"no run of {profile} on it was completed, the last one failed on {started(failed)} ({_cause(failed)}): mend that, "
        f"then {_train(profile, disease)}"
    )


def _opened(home: Path, found: Found, profile: str, disease: str) -> CompletedRun:
    try:
        return CompletedRun(found, _read(home, found, disease))
    except UnreadableRun as why:
        raise _CannotCompare(
            f"the last run of {profile}, of {started(found)}, cannot be read: {why}; {_train(profile, disease)}"
        ) from why


def _read(home: Path, found: Found, disease: str) -> RunFolder:
    return read_run_folder(disease_folder(home, found.parent or found.run_id, disease))


def _all_seeds(
    tracker: Tracker, home: Path, last: CompletedRun, profile: str, warnings: list[str]
) -> Iterator[CompletedRun]:
    """Yield the last run, and the newest of each other seed whose plan is the same in all else."""
    disease, wanted = last.plan.disease, _but_for_the_seed(last.plan)
    yield last
    seeds, lost = {last.plan.seed}, set()
    for found in _runs(tracker, profile, disease, manifest=last.plan.manifest_digest):
        seed = int(found.params.get("seed", last.plan.seed))
        if found.status != "FINISHED" or seed in seeds or found.run_id == last.found.run_id:
            continue
        try:
            run = CompletedRun(found, _read(home, found, disease))
        except UnreadableRun:
            lost.add(seed)
            continue
        if _but_for_the_seed(run.plan) == wanted:
            seeds.add(seed)
            yield run
    if lost - seeds:
        said = ", ".join(map(str, sorted(lost - seeds)))
        warnings.append(f"Runs of {profile} with seed {said} are left out: their folders cannot be read.")


def _but_for_the_seed(plan: Plan) -> dict[str, object]:
    return {**plan.to_json(), "seed": None}


def _require_same_manifest(opened: Sequence[CompletedRun]) -> None:
    digests = [run.plan.manifest_digest for run in opened]
    if digests[0] == digests[1]:
        return
    older = min(opened, key=lambda run: run.found.started)
    said = " and ".join(_seen(run) for run in opened)
    raise _CannotCompare(
        f"the two profiles saw different images or splits: {said}; train the older one again: "
        f"{_train(older.plan.profile, older.plan.disease)}"
    )


def _require_same_rows(runs: Sequence[CompletedRun]) -> None:
    rows = runs[0].folder.rows
    for run in runs[1:]:
        other = run.folder.rows
        same = other.images == rows.images and other.groups == rows.groups
        if not same or not np.array_equal(other.labels, rows.labels):
            differ = len(set(rows.images) ^ set(other.images))
            raise _CannotCompare(
                f"the test rows of the runs differ although their manifests are the same: {len(rows.images)} and "
                f"{len(other.images)} rows, {differ} images in one only; a file was changed, so train both again: "
                f"{_train(runs[0].plan.profile, run.plan.disease)}; {_train(run.plan.profile, run.plan.disease)}"
            )


def _runs(tracker: Tracker, profile: str, disease: str, *, manifest: str | None = None) -> Iterator[Found]:
    tags = {"radtrain.profile": profile, "radtrain.disease": disease}
    return tracker.search_runs(tags=tags if manifest is None else {**tags, "radtrain.manifest": manifest})


def _trained_diseases(tracker: Tracker, first: str, second: str) -> list[str]:
    """Return the diseases of all runs of both profiles, in the order in which their `train-all` had them."""
    keys: dict[str, None] = {}
    seen: set[str] = set()
    for profile in (first, second):
        for found in tracker.search_runs(tags={"radtrain.profile": profile}):
            if "radtrain.disease" in found.tags:
                seen.add(found.tags["radtrain.disease"])
            else:  # a parent
                keys.update(dict.fromkeys(filter(None, found.params.get("diseases", "").split(", "))))
    return [*(key for key in keys if key in seen), *sorted(seen - set(keys))]


def _refused(
    tracker: Tracker, settings: Settings, profiles: tuple[str, str], matches: Sequence[Match]
) -> ComparisonRefused:
    """Return the error for profiles that have nothing to compare: with the reason of each disease, if there is any."""
    known = {found.tags.get("radtrain.profile", "") for found in tracker.search_runs()} - {""}
    hints = "".join(did_you_mean(profile, known) for profile in profiles if profile not in known)
    reasons = [f"{match.disease}: {match.reason}" for match in matches]
    trained = f"runs of {', '.join(sorted(known))}" if known else "no run of any profile"
    return ComparisonRefused(
        f"{profiles[0]} and {profiles[1]} cannot be compared on any disease.{hints}",
        where=settings.home,
        expected="a completed run of each profile, on the same manifest",
        received="\n            ".join(reasons) or trained,
        fix="do what is said there for the disease that you ask about"
        if reasons
        else "; ".join(f"radtrain train {profile}" for profile in profiles),
    )


def _seen(run: CompletedRun) -> str:
    plan = run.plan
    return (
        f"{plan.profile} on {started(run.found)} manifest {plan.manifest_digest[:12]} ({plan.n_train} images for training, "
        f"{plan.n_validation} for validation, {plan.n_test} for testing)"
    )


def _cause(found: Found) -> str:
    return found.tags.get("radtrain.cause") or "it was broken off"


def started(found: Found) -> str:
    """Return when a run began, for people."""
    return f"{datetime.fromtimestamp(found.started / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _train(profile: str, disease: str) -> str:
    return f"radtrain train {profile} --disease {disease}"
