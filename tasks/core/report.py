"""What a run came to: one outcome per disease, and the exit code that follows from them.

In: what the stages returned or raised. Out: records, the JSON that `--json` prints, and the message of the
flow's final state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from data_checks.findings import Finding
from tasks.core.errors import RadtrainError, first_line
from tasks.core.metrics import Estimate


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one disease.

    Attributes:
        disease: key of the catalog.
        state: completed, failed, or unchanged: an earlier run did just this and its results stand.
        reason: why it failed and how to mend it, for the local reader: it may name folders.
        cause: the same as codes, for logs, tags and states.
        repeat: the command that trains this disease again.
        exit_code: 0, or that of the failure.
        manifest: digest of its manifest; empty where none was built.
        counts: used images per split.
        test: every metric on test rows.
        seconds: of its own training, evaluation and logging.
        features_cached: share of its images whose features were there before the run, 0-1.
        findings: what the checks found.
        run_id: its MLflow run, of an unchanged one the earlier; None where nothing could be logged.
        since: when that earlier run was; empty for any other state.
        retried: what its first training died of; empty where it took one.
    """

    disease: str
    state: Literal["completed", "unchanged", "failed"]
    reason: str = ""
    cause: str = ""
    repeat: str = ""
    exit_code: int = 0
    manifest: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    test: Mapping[str, Estimate] = field(default_factory=dict)
    seconds: float = 0.0
    features_cached: float = 0.0
    findings: tuple[Finding, ...] = ()
    run_id: str | None = None
    since: str = ""
    retried: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the disease's part of `--json`."""
        return {
            "state": self.state,
            "reason": self.reason or None,
            "repeat": self.repeat or None,
            "manifest": self.manifest or None,
            "n_train": self.counts.get("train", 0),
            "n_val": self.counts.get("validation", 0),
            "n_test": self.counts.get("test", 0),
            "test": {name: estimate.to_json() for name, estimate in self.test.items()},
            "seconds": round(self.seconds, 3),
            "features_cached": round(self.features_cached, 4),
            "findings": [finding.to_json() for finding in self.findings],
            "run_id": self.run_id,
            "unchanged_since": self.since or None,
            "retried": self.retried or None,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run.

    Attributes:
        run_id: the parent run in MLflow; where nothing had changed, that of the newest of the earlier runs.
        profile: key of the catalog.
        outcomes: one per disease, in catalog order.
        seconds: of the whole flow.
        tracking_uri: where MLflow has it.
        folder: where the run's files are.
        skipped: diseases that the catalog has switched off, where all were asked for.
    """

    run_id: str
    profile: str
    outcomes: tuple[Outcome, ...]
    seconds: float
    tracking_uri: str
    folder: str
    skipped: tuple[str, ...] = ()

    def failed(self) -> list[Outcome]:
        """Return the diseases that did not complete."""
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]

    def unchanged(self) -> list[Outcome]:
        """Return the diseases whose earlier results stand."""
        return [outcome for outcome in self.outcomes if outcome.state == "unchanged"]

    def is_unchanged(self) -> bool:
        """Tell whether there was nothing to do."""
        return bool(self.outcomes) and len(self.unchanged()) == len(self.outcomes)

    def exit_code(self) -> int:
        """Return 0, or the code of the gravest failure: a cause that spoils other runs too comes first."""
        codes = {outcome.exit_code for outcome in self.failed()}
        order = (15, 13, 14, 12, 16, 10, 1, 11)
        return next((code for code in order if code in codes), max(codes, default=0))

    def message(self) -> str:
        """Return one sentence for the state of the flow: what completed, and each failure with its reason."""
        off = [f"Skipped, switched off in the catalog: {', '.join(self.skipped)}."] if self.skipped else []
        if self.is_unchanged():
            newest = max(outcome.since for outcome in self.outcomes)
            said = f"Nothing changed since run {self.run_id} of {newest}: its {len(self.outcomes)} diseases stand."
            return " ".join([said, *off])
        done = len(self.outcomes) - len(self.failed())
        kept = f", {len(self.unchanged())} of them unchanged" if self.unchanged() else ""
        said = f"{done} of {len(self.outcomes)} diseases completed{kept}."
        return " ".join([said, *(f"{o.disease} failed: {o.cause}." for o in self.failed()), *off])

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "run_id": self.run_id,
            "profile": self.profile,
            "seconds": round(self.seconds, 3),
            "exit_code": self.exit_code(),
            "tracking_uri": self.tracking_uri,
            "not_for_diagnosis": True,
            "skipped": list(self.skipped),
            "diseases": {outcome.disease: outcome.to_json() for outcome in self.outcomes},
        }


class DiseasesFailed(RadtrainError):
    """Some diseases did not complete; carries the report, in which the others did."""

    def __init__(self, report: Report) -> None:
        self.report = report
        repeats = "; ".join(outcome.repeat for outcome in report.failed())
        super().__init__(
            report.message(), where=report.folder, fix=f"mend what is named above, then {repeats}"
        )


def reason_of(error: BaseException) -> tuple[str, int]:
    """Return why a disease failed, in one line, and the exit code of that."""
    if isinstance(error, RadtrainError):
        return f"{error.what} To mend it: {error.fix}", error.exit_code
    return f"{type(error).__name__}: {first_line(error)}", 1
