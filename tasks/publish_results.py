"""Stage: outcomes -> Prefect's page of the run: a table with links into MLflow, and an event where data failed.

In: the report. Out: an artifact and events. They carry keys, codes, figures and digests.
"""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from tasks.core.card import interval
from tasks.core.errors import ChecksFailed
from tasks.core.report import Outcome, Report
from tasks.tracking import Tracker


@task(name="publish-results", cache_policy=NO_CACHE)
def publish_results(report: Report, tracker: Tracker) -> None:
    """Show what became of every disease."""
    create_table_artifact(
        key=f"results-{report.profile.replace('_', '-')}",
        table=[_row(outcome, tracker) for outcome in report.outcomes],
        description=f"{report.message()} Not for diagnosis. "
        f"[The run in MLflow]({tracker.link(report.run_id)}).",
    )
    for outcome in report.failed():
        if outcome.exit_code == ChecksFailed.exit_code:
            emit_event(
                "radtrain.data.failed-checks",
                resource={
                    "prefect.resource.id": f"radtrain.disease.{outcome.disease}",
                    "radtrain.profile": report.profile,
                },
                payload={"codes": outcome.cause},
            )


def _row(outcome: Outcome, tracker: Tracker) -> dict[str, str]:
    """Return a row of Prefect's table; every row has the same columns, for the first row names them."""
    auroc = outcome.test.get("auroc")
    run_id = outcome.run_id
    return {
        "disease": outcome.disease,
        "state": outcome.state,
        "AUROC (95 % interval)": "" if auroc is None else interval(auroc, digits=2),
        "test images": "" if auroc is None else str(auroc.n),
        "seconds": f"{outcome.seconds:.1f}" if outcome.state == "completed" else "",
        "why": outcome.cause or (f"as on {outcome.since}" if outcome.since else outcome.retried),
        "run": "" if run_id is None else f"[open in MLflow]({tracker.link(run_id)})",
        "report": ""
        if run_id is None or auroc is None
        else f"[card]({tracker.link(run_id, 'card.md')}), [figures]({tracker.link(run_id, 'evaluation.png')})",
    }
