"""What became of each disease of a run, as its report says it.

In: the work, the verdict of the checks, and what the stages returned or raised. Out: an `Outcome`.
"""

from __future__ import annotations

from collections.abc import Mapping

from data_checks.report import Verdict
from tasks.build_manifest import DiseaseManifest
from tasks.core.errors import ChecksFailed
from tasks.core.metrics import Estimate
from tasks.core.report import Outcome, reason_of
from tasks.find_runs import CompletedRun, started
from tasks.plan_run import Work


def completed_outcome(
    verdict: Verdict,
    manifest: DiseaseManifest,
    test: Mapping[str, Estimate],
    seconds: float,
    cached: float,
    run_id: str,
    retried: str,
) -> Outcome:
    """Return the outcome of a disease that was trained, evaluated and recorded."""
    return Outcome(
        disease=manifest.disease,
        state="completed",
        manifest=manifest.digest,
        counts=manifest.counts,
        test=test,
        seconds=seconds,
        features_cached=cached,
        findings=verdict.findings,
        run_id=run_id,
        retried=retried,
    )


def unchanged_outcome(verdict: Verdict, manifest: DiseaseManifest, earlier: CompletedRun) -> Outcome:
    """Return the outcome of a disease that an earlier run trained in just this way."""
    return Outcome(
        disease=manifest.disease,
        state="unchanged",
        manifest=manifest.digest,
        counts=manifest.counts,
        test=earlier.folder.estimates,
        features_cached=1.0,
        findings=verdict.findings,
        run_id=earlier.found.run_id,
        since=started(earlier.found),
    )


def failed_outcome(
    work: Work, verdict: Verdict, manifest: DiseaseManifest, error: BaseException, cached: float
) -> Outcome:
    """Return the outcome of a disease whose training, evaluation or recording raised."""
    reason, code = reason_of(error)
    return Outcome(
        disease=manifest.disease,
        state="failed",
        reason=reason,
        cause=type(error).__name__,
        repeat=work.request.repeat(manifest.disease, work.settings),
        exit_code=code,
        manifest=manifest.digest,
        counts=manifest.counts,
        features_cached=cached,
        findings=verdict.findings,
    )


def refused_outcome(work: Work, verdict: Verdict) -> Outcome:
    """Return the outcome of a disease whose data did not pass the checks."""
    stops = verdict.of("fail")
    said = [" ".join(filter(None, [f"{f.code}: {f.text}", f.detail, f"To mend it: {f.fix}."])) for f in stops]
    return Outcome(
        disease=verdict.disease,
        state="failed",
        reason=" ".join(said),
        cause=verdict.codes("fail"),
        repeat=work.request.repeat(verdict.disease, work.settings),
        exit_code=ChecksFailed.exit_code,
        findings=verdict.findings,
    )
