"""The flow `compare-profiles`: is one profile good enough, or is the other one worth its price?

    find runs -> compare (scores that are there, speed measured now, mistakes) -> champions -> page, Prefect, MLflow

Nothing is trained, and no test row is scored again. A disease that cannot be compared says why, beside the others.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed

from flows.lifetime import lifetime
from tasks.compare_profiles import compare_profiles as compare
from tasks.core.comparison_request import check_words
from tasks.core.errors import AlreadyRunning
from tasks.core.settings import Settings, read_settings, silence
from tasks.find_runs import find_runs
from tasks.name_champions import name_champions
from tasks.publish_comparison import Published, publish_comparison
from tasks.record_run import abandon_run, end_run, open_run
from tasks.worker import start_worker


def _run_name() -> str:
    return f"{flow_run.parameters['first']} against {flow_run.parameters['second']}"


@flow(name="compare-profiles", flow_run_name=_run_name)
def compare_profiles(
    first: str = "fast",
    second: str = "intensive",
    diseases: list[str] | None = None,
    html: str | None = None,
    data: str | None = None,
    home: str | None = None,
    tracking_uri: str | None = None,
) -> State[Published]:
    """Compare the last completed runs of two profiles, disease by disease.

    Args:
        first: key of a profile.
        second: key of another one.
        diseases: keys; all that either profile was trained on where none is named.
        html: file that the page is written to; in the home folder by default.
        data: the data root, for pictures of images that the cache has lost; RADTRAIN_DATA by default.
        home: folder for caches, runs and databases; RADTRAIN_HOME by default.
        tracking_uri: where MLflow records; MLFLOW_TRACKING_URI by default.

    Returns:
        Completed with a `Published` as its result, or Cancelled where another run is at the same comparison. Where
        nothing can be compared the flow fails with `ComparisonRefused`.
    """
    silence(os.environ)
    settings = read_settings(os.environ, data=data, home=home, tracking_uri=tracking_uri)
    check_words(first, second, diseases)
    page = None if html is None else Path(os.path.expanduser(html)).absolute()
    try:
        with lifetime(settings, "-".join(["compare", first, second, *(diseases or ())])):
            published = _compare(settings, (first, second), diseases, page)
    except AlreadyRunning as error:
        return Cancelled(name="Refused", message=error.what, data=error)
    verdicts = [f"{one.disease}: {one.verdict}" for one in published.comparison.diseases]
    return Completed(message=" ".join(verdicts), data=published)


def _compare(
    settings: Settings, profiles: tuple[str, str], diseases: list[str] | None, page: Path | None
) -> Published:
    began = time.perf_counter()
    with start_worker(settings.home) as worker:
        matches = find_runs(settings, *profiles, diseases)
        name = f"compare/{'-'.join(profiles)}"
        opening = open_run.submit(settings.tracking_uri, settings.artifact_root, name)
        try:
            recording = opening.result()
            compared = compare(worker, recording.tracker, settings, profiles, matches)
            seconds = time.perf_counter() - began
            champions = name_champions(recording.tracker, compared.comparison)
            published = publish_comparison(
                settings, compared, champions, recording, html=page, seconds=seconds
            )
            end_run(recording, completed=True)
        except BaseException as error:
            abandon_run(opening, error)
            raise
    return published
