"""What the checks came to: one verdict per disease, never green for one that was not looked at.

In: findings, counts and audits. Out: records, the JSON of `radtrain check --json`, and a copy that may leave this
machine, with counts and digests in place of names. The page made of it is `data_checks/page.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from data_checks.findings import Finding

#: What a verdict may be. `skipped` is a disease that the catalog has switched off.
State = Literal["pass", "warn", "fail", "skipped"]


@dataclass(frozen=True, slots=True)
class Audited:
    """How well a probe of the shortcut audit predicts the label (contract: AUDIT).

    Attributes:
        probe: one of contract.PROBES.
        auroc: cross-validated by group on training and validation images, 0-1.
        low: lower end of its 95 % interval, None where it has none.
        high: upper end.
        n: images.
    """

    probe: str
    auroc: float
    low: float | None
    high: float | None
    n: int

    def to_json(self) -> dict[str, Any]:
        """Return the probe's part of `--json`."""
        ends = [None if end is None else round(end, 4) for end in (self.low, self.high)]
        return {
            "probe": self.probe,
            "auroc": round(self.auroc, 4),
            "low": ends[0],
            "high": ends[1],
            "n": self.n,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of the data of one disease.

    Attributes:
        disease: key of the catalog.
        title: as the catalog has it.
        enabled: False where the catalog has switched it off, so that nothing was looked at.
        findings: gravest first.
        manifest: digest of its manifest; empty where none was built.
        files: rows of its manifest, used or not.
        negatives: used negative images per split.
        positives: used positive images per split.
        audit: the shortcut audit; empty where there was nothing to audit.
        changes: the row of contract.CHANGES; None where the disease was never trained, or nothing changed.
    """

    disease: str
    title: str
    enabled: bool = True
    findings: tuple[Finding, ...] = ()
    manifest: str = ""
    files: int = 0
    negatives: Mapping[str, int] = field(default_factory=dict)
    positives: Mapping[str, int] = field(default_factory=dict)
    audit: tuple[Audited, ...] = ()
    changes: Mapping[str, Any] | None = None

    @property
    def state(self) -> State:
        """Pass, warn, fail, or skipped."""
        if not self.enabled:
            return "skipped"
        severities = {finding.severity for finding in self.findings}
        return "fail" if "fail" in severities else "warn" if "warn" in severities else "pass"

    @property
    def images(self) -> int:
        """Used images."""
        return sum(self.negatives.values()) + sum(self.positives.values())

    @property
    def best_shortcut(self) -> Audited | None:
        """The probe with the highest lower end; None where all are the same value in every image, or unknown."""
        known = [audited for audited in self.audit if audited.low != audited.high]
        return max(known, key=lambda audited: audited.low or 0.0, default=None)

    def of(self, severity: str) -> list[Finding]:
        """Return the findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    def codes(self, severity: str) -> str:
        """Return the codes of one severity, each once, for logs, tags and states."""
        return ", ".join(dict.fromkeys(finding.code for finding in self.of(severity)))

    def to_json(self, *, tracked: bool = False) -> dict[str, Any]:
        """Return the disease's part of `--json`; `tracked` leaves out every name of a file or folder."""
        return {
            "verdict": self.state,
            "manifest": self.manifest or None,
            "files": self.files,
            "images": self.images,
            "negatives": dict(self.negatives),
            "positives": dict(self.positives),
            "findings": [f.tracked() if tracked else f.to_json() for f in self.findings],
            "audit": [audited.to_json() for audited in self.audit],
            "changes": dict(self.changes) if self.changes else None,
        }


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check came to.

    Attributes:
        verdicts: one per disease asked for, in catalog order, and one for every disease that is switched off.
        files: below the class folders.
        read: of them, read and decoded this time.
        expectations: that were evaluated; 0 where no table could be made.
        reused: nothing had changed, so the judgement is that of an earlier check.
        seconds: it took.
    """

    verdicts: tuple[Verdict, ...]
    files: int
    read: int
    expectations: int
    reused: bool
    seconds: float

    def failed(self) -> list[Verdict]:
        """Return the verdicts that stop their disease."""
        return [verdict for verdict in self.verdicts if verdict.state == "fail"]

    def message(self) -> str:
        """Return one sentence: how many passed, and each failure with its codes; names no folder."""
        states = [verdict.state for verdict in self.verdicts]
        looked = len(states) - states.count("skipped")
        said = f"{looked - states.count('fail')} of {looked} diseases can be trained"
        said += f", {states.count('warn')} with warnings." if "warn" in states else "."
        failed = [f"{verdict.disease}: {verdict.codes('fail')}." for verdict in self.failed()]
        skipped = [verdict.disease for verdict in self.verdicts if verdict.state == "skipped"]
        off = [f"Skipped, switched off in the catalog: {', '.join(skipped)}."] if skipped else []
        return " ".join([said, *failed, *off])

    def to_json(self, *, tracked: bool = False) -> dict[str, Any]:
        """Return what `radtrain check --json` prints; `tracked` leaves out every name of a file or folder."""
        return {
            "verdict": _gravest([verdict.state for verdict in self.verdicts]),
            "not_for_diagnosis": True,
            "files": self.files,
            "files_read": self.read,
            "expectations": self.expectations,
            "reused": self.reused,
            "seconds": round(self.seconds, 3),
            "diseases": {v.disease: v.to_json(tracked=tracked) for v in self.verdicts},
        }


def _gravest(states: list[State]) -> State:
    order: tuple[State, ...] = ("fail", "warn", "pass", "skipped")
    return order[min((order.index(state) for state in states), default=3)]
