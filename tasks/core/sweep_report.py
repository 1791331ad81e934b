"""What a sweep came to: for each disease what was found, or why nothing was.

In: what the stages returned or raised. Out: records, the JSON that `--json` prints, and the message of the flow's final
state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.report import DiseasesFailed, Outcome, Report
from tasks.core.search import Searched


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What became of a sweep.

    Attributes:
        run_id: the parent run in MLflow.
        profile: key of the catalog.
        results: of each disease, in catalog order: what was found, or the failure.
        trials: of each disease.
        seconds: of the whole flow.
        tracking_uri: where MLflow has it.
        folder: where the sweep's files are.
        skipped: diseases that the catalog has switched off, where all were asked for.
    """

    run_id: str
    profile: str
    results: tuple[Searched | Outcome, ...]
    trials: int
    seconds: float
    tracking_uri: str
    folder: str
    skipped: tuple[str, ...] = ()

    def searched(self) -> list[Searched]:
        """Return what was found, without the failures."""
        return [result for result in self.results if isinstance(result, Searched)]

    def failed(self) -> list[Outcome]:
        """Return the diseases for which nothing was found."""
        return [result for result in self.results if isinstance(result, Outcome)]

    def exit_code(self) -> int:
        """Return 0, or the code of the gravest failure."""
        return self._as_report().exit_code()

    def message(self) -> str:
        """Return one sentence for the state of the flow: what completed, and each failure with its reason."""
        return self._as_report().message()

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            **self._as_report().to_json(),
            "trials": self.trials,
            "diseases": {result.disease: result.to_json() for result in self.results},
        }

    def _as_report(self) -> Report:
        """Return the same as a report of any run, which knows codes and messages."""
        outcomes = [
            result if isinstance(result, Outcome) else Outcome(result.disease, "completed")
            for result in self.results
        ]
        return Report(
            self.run_id,
            self.profile,
            tuple(outcomes),
            self.seconds,
            self.tracking_uri,
            self.folder,
            self.skipped,
        )


class SweepFailed(DiseasesFailed):
    """Nothing was found for some diseases; carries the report, which has what was found for the others."""

    report: Any

    def __init__(self, report: SweepReport) -> None:
        super().__init__(report._as_report())
        self.report = report


def rows_of(results: Sequence[Searched | Outcome]) -> list[dict[str, str]]:
    """Return a row per disease for a table; every row has the same columns, for the first row may name them."""
    return [_row(result) for result in results]


def _row(result: Searched | Outcome) -> dict[str, str]:
    if isinstance(result, Outcome):
        return {
            "disease": result.disease,
            "decision": f"failed: {result.cause}",
            "trials": "",
            "search, as it is": "",
            "search, best": "",
            "validation, as it is": "",
            "validation, best": "",
            "difference": "",
            "figures": "",
        }
    own, best = result.own, result.best
    paired = result.paired
    return {
        "disease": result.disease,
        "decision": result.decision,
        "trials": f"{len(result.trials)}, {result.count('pruned')} given up",
        "search, as it is": "" if own.auroc is None else f"{own.auroc:.3f}",
        "search, best": "" if best.auroc is None else f"{best.auroc:.3f}",
        "validation, as it is": f"{result.own_validation.value:.3f}",
        "validation, best": f"{result.best_validation.value:.3f}",
        "difference": ""
        if paired.difference is None or paired.low is None
        else f"{paired.difference:+.3f} ({paired.low:+.3f} to {paired.high:+.3f})",
        "figures": " ".join(result.options),
    }
