"""The flow `validate-data`: are the images of every disease fit to be trained on? And the same steps for `train-all`.

    folders -> check -> scan -> manifest -> judge -> page, Prefect, MLflow

A disease whose data fails is named with its reason, and the flow does not end green.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from prefect import State, Task, flow
from prefect.states import Completed, Failed

from data_checks.findings import failures
from data_checks.report import CheckReport
from flows.lifetime import lifetime
from tasks.build_manifest import DiseaseManifest, build_manifest
from tasks.check_folders import check_folders
from tasks.core.catalog import class_folders, load_catalog
from tasks.core.errors import ChecksFailed
from tasks.core.settings import Settings, read_settings, silence
from tasks.judge_data import judge_data
from tasks.plan_check import Look, plan_check
from tasks.publish_check import publish_check
from tasks.record_run import abandon_run, end_run, open_run
from tasks.scan_images import Scan, scan_images
from tasks.store import facts_path


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check leaves behind.

    Attributes:
        report: one verdict per disease.
        manifests: of the diseases that may go on.
        scan: what reading the images came to; None where no disease had its folders.
    """

    report: CheckReport
    manifests: dict[str, DiseaseManifest]
    scan: Scan | None


def as_task(stage: Task[..., Any]) -> Callable[..., Any]:
    """Have a stage run as a Prefect task: seen in the UI, and only within a flow."""
    return stage


def as_function(stage: Task[..., Any]) -> Callable[..., Any]:
    """Have a stage run as the plain function that it is: without any server."""
    return stage.fn


def check_images(look: Look, *, step: Callable[[Task[..., Any]], Callable[..., Any]] = as_task) -> Checked:
    """Check every disease as far as its data let it go.

    Args:
        look: what is checked.
        step: how a stage is run.

    Raises:
        DataNotFound: it is the wrong root.
        StorageError: the home folder cannot be written.
    """
    began = time.perf_counter()
    home = look.settings.home
    facts = facts_path(home, look.root)
    missing = step(check_folders)(look.root, look.diseases, whole=look.whole)
    present = {key: disease for key, disease in look.diseases.items() if not failures(missing, key)}
    scan: Scan | None = None
    manifests: dict[str, DiseaseManifest] = {}
    if present:
        if not facts.exists():  # all is new, so all will be judged
            threading.Thread(target=_load_ahead, daemon=True).start()
        scan = step(scan_images)(look.root, class_folders(present), facts, look.pixels, look.features)
        manifests = step(build_manifest)(facts, present, look.split, home)
    report: CheckReport = step(judge_data)(look, missing, scan, manifests)
    report = replace(report, seconds=time.perf_counter() - began)
    stopped = {verdict.disease for verdict in report.failed()}
    ready = {key: manifest for key, manifest in manifests.items() if key not in stopped}
    return Checked(report, ready, scan)


def _load_ahead() -> None:
    """Import Great Expectations (4 s) while images are read."""
    from data_checks import expectations

    expectations.load_ahead()


def _run_name() -> str:
    return f"validate {datetime.now().astimezone():%Y-%m-%d %H:%M}"


@flow(name="validate-data", flow_run_name=_run_name)
def validate_data(
    diseases: list[str] | None = None,
    data: str | None = None,
    catalog: str | None = None,
    home: str | None = None,
    tracking_uri: str | None = None,
) -> State[CheckReport]:
    """Check the images of every disease of the catalog, and train nothing.

    Args:
        diseases: keys of the catalog; all of them where none is named.
        data: the data root; RADTRAIN_DATA by default.
        catalog: folder with catalog files of your own; RADTRAIN_CATALOG by default.
        home: folder for facts, manifests and databases; RADTRAIN_HOME by default.
        tracking_uri: where MLflow records; MLFLOW_TRACKING_URI by default.

    Returns:
        Completed with a `CheckReport` as its result, or Failed where a disease does not pass.
    """
    silence(os.environ)
    settings = read_settings(os.environ, data=data, home=home, catalog=catalog, tracking_uri=tracking_uri)
    with lifetime(settings):
        report = _validate(settings, diseases)
    if report.failed():
        error = ChecksFailed(report.message(), where="the data root", fix="radtrain check says what mends it")
        return Failed(message=report.message(), data=error)
    return Completed(message=report.message(), data=report)


def _validate(settings: Settings, diseases: list[str] | None) -> CheckReport:
    look = plan_check(load_catalog(settings.catalog), diseases, settings)
    opening = open_run.submit(settings.tracking_uri, settings.artifact_root, "validate-data")
    try:
        report = check_images(look).report
        publish_check(look, report, opening.result())
        end_run(opening.result(), completed=not report.failed())
    except BaseException as error:
        abandon_run(opening, error)
        raise
    return report
