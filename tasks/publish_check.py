"""Stage: verdicts -> where people look: a page on this machine, an artifact in Prefect, files in the MLflow run.

In: the report of a check. Out: pages. What leaves this machine carries codes, counts and digests; thumbnails and the
names of files and folders stay in the page of the home folder.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from PIL import Image
from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from data_checks.images.image_facts import MAX_PIXELS, UnreadableImage, decode
from data_checks.images.listing import UnreachableFile, read_file
from data_checks.page import THUMBNAIL_SIDE, write_page
from data_checks.report import CheckReport, Verdict
from tasks.core.errors import StorageError
from tasks.files import write_atomically, write_json
from tasks.plan_check import Look
from tasks.record_run import Recording

#: Thumbnails shown for one finding.
SHOWN = 12


@task(name="publish-check", cache_policy=NO_CACHE)
def publish_check(look: Look, report: CheckReport, recording: Recording) -> Path:
    """Write the page of the run's folder, and show the report in Prefect and in MLflow; return the page.

    Raises:
        StorageError: the home folder cannot be written.
        TrackingError: MLflow cannot be reached or written.
    """
    folder = look.settings.home / "runs" / recording.run_id
    page = _write(folder / "checks.html", _page(look, report))
    content = report.to_json(tracked=True)
    tracked = [
        write_json(folder / "tracked" / "checks.json", content),
        _write(folder / "tracked" / "checks.html", write_page(report, made=_now(), local=False)),
    ]
    recording.tracker.log_files(recording.run_id, tracked, folder="checks")
    recording.tracker.log(recording.run_id, metrics=dict(_metrics(report)))
    create_table_artifact(
        table=[_row(verdict) for verdict in report.verdicts], key="checks", description=report.message()
    )
    create_link_artifact(
        link=recording.tracker.link(recording.run_id), link_text="the run in MLflow", key="checks-in-mlflow"
    )
    return page


def draw_page(look: Look, report: CheckReport, path: Path) -> Path:
    """Write the page for the reader at this machine where they asked for it, thumbnails of offenders included.

    Raises:
        StorageError: it cannot be written.
    """
    page = _page(look, report)
    try:
        return _write(path, page)
    except (StorageError, OSError) as error:  # the former speaks of the home folder
        raise StorageError(
            "The page of the check cannot be written.",
            where=path,
            expected="a place that can be written, with free space",
            received=getattr(error.__cause__ or error, "strerror", None),
            fix="name another file: --html FILE; nothing is read or judged again for it",
        ) from error


def _page(look: Look, report: CheckReport) -> str:
    places = dict.fromkeys(place for verdict in report.verdicts for place in _shown(verdict))
    thumbnails = {place: drawn for place in places if (drawn := _thumbnail(look.root, place)) is not None}
    return write_page(report, made=_now(), root=str(look.root), thumbnails=thumbnails)


def _shown(verdict: Verdict) -> Iterator[str]:
    """Yield the files of a verdict that are worth a look: some of each finding that is about images that can be read."""
    for finding in verdict.findings:
        if finding.code not in ("unreadable_images", "sidecar_files"):
            yield from finding.places[:SHOWN]


def _thumbnail(root: Path, place: str) -> bytes | None:
    """Return a small PNG of an image; None where it cannot be read (which may be what the finding says)."""
    try:
        gray = decode(read_file(root, place), max_pixels=MAX_PIXELS)
    except (UnreachableFile, UnreadableImage):
        return None
    small = Image.fromarray(gray)
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    data = io.BytesIO()
    small.save(data, "PNG")
    return data.getvalue()


def _metrics(report: CheckReport) -> Iterator[tuple[str, float]]:
    yield "checks/duration_s", report.seconds
    yield "checks/expectations", report.expectations
    for verdict in report.verdicts:
        for severity in ("fail", "warn", "note"):
            yield f"checks/{severity}/{verdict.disease}", len(verdict.of(severity))


def _row(verdict: Verdict) -> dict[str, str]:
    """Return a row of Prefect's table; every row has the same columns, for the first row names them."""
    best = verdict.best_shortcut
    return {
        "disease": verdict.disease,
        "verdict": verdict.state,
        "images": str(verdict.images),
        "files": str(verdict.files),
        "failures": verdict.codes("fail"),
        "warnings": verdict.codes("warn"),
        "notes": verdict.codes("note"),
        "best shortcut": "" if best is None else f"{best.probe} AUROC {best.auroc:.2f}",
        "manifest": verdict.manifest[:16],
    }


def _write(path: Path, text: str) -> Path:
    return write_atomically(path, lambda file: file.write(text.encode()))


def _now() -> str:
    return f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
