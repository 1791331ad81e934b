"""Stage: a comparison -> where people look: a page on this machine, an artifact in Prefect, a run of its own in MLflow.

In: what was compared. Out: pages, figures, tables. Pictures of images stay in the page on this machine; what leaves it
carries figures, digests and keys.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.compare_profiles import Compared
from tasks.core.comparison import Comparison, DiseaseComparison, Side
from tasks.core.comparison_figures import price_figure, roc_figure
from tasks.core.comparison_page import comparison_page
from tasks.core.cost import finite
from tasks.core.errors import StorageError
from tasks.core.settings import Settings
from tasks.files import write_atomically, write_json
from tasks.name_champions import Champion
from tasks.record_run import Recording


@dataclass(frozen=True, slots=True)
class Published:
    """A comparison, and where it can be looked at.

    Attributes:
        comparison: figures and verdicts.
        champions: of the diseases that have one.
        run_id: of the comparison's own run in MLflow.
        link: where MLflow shows the runs that were compared side by side.
        page: file on this machine.
        seconds: until everything was compared; writing it down is not in them.
    """

    comparison: Comparison
    champions: tuple[Champion, ...]
    run_id: str
    link: str
    page: Path
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "run_id": self.run_id,
            "link": self.link,
            "page": str(self.page),
            "seconds": round(self.seconds, 3),
            "champions": {one.disease: dataclasses.asdict(one) for one in self.champions},
            **self.comparison.to_json(),
        }


@task(name="publish-comparison", cache_policy=NO_CACHE)
def publish_comparison(
    settings: Settings,
    compared: Compared,
    champions: tuple[Champion, ...],
    recording: Recording,
    *,
    html: Path | None,
    seconds: float,
) -> Published:
    """Write the page, and show the comparison in MLflow and in Prefect.

    Args:
        settings: where the home folder is.
        compared: what was found.
        champions: of the diseases that have one.
        recording: the comparison's own run; it stays open.
        html: where the page shall be; in the home folder where nothing is said.
        seconds: that finding it took.

    Raises:
        StorageError: the home folder or the page cannot be written.
        TrackingError: MLflow cannot be reached or written.
    """
    comparison, run_id, tracker = compared.comparison, recording.run_id, recording.tracker
    folder = settings.home / "comparisons" / run_id
    link = tracker.compare_link(compared.run_ids)
    made = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    page = comparison_page(comparison, mistakes=compared.mistakes, link=link, made=made)
    place = _write_page(html or folder / "comparison.html", page, asked=html is not None)
    tracked = [
        write_json(folder / "comparison.json", comparison.to_json()),
        _write(
            folder / "tracked" / "comparison.html",
            comparison_page(comparison, mistakes={}, link=link, made=made).encode(),
        ),
    ]
    tracker.log_files(run_id, tracked)
    tracker.log_files(
        run_id, [_write(folder / name, png) for name, png in _figures(comparison)], folder="figures"
    )
    tracker.log_table(run_id, _columns(comparison), name="comparison_table.json")
    first, second = comparison.profiles
    tracker.log(
        run_id,
        params={
            "first": first,
            "second": second,
            "diseases": ", ".join(one.disease for one in comparison.diseases),
        },
        metrics={"compare/duration_s": seconds, **dict(comparison_metrics(comparison))},
        tags={
            "radtrain.comparison": f"{first}-{second}",
            "radtrain.compared_runs": ", ".join(compared.run_ids),
        },
    )
    _show_in_prefect(comparison, champions, link, tracker.link(run_id))
    return Published(comparison, champions, run_id, link, place, seconds)


def _show_in_prefect(
    comparison: Comparison, champions: tuple[Champion, ...], side_by_side: str, run: str
) -> None:
    """Make a table of the verdicts, and the two links into MLflow."""
    first, second = comparison.profiles
    crowned = {one.disease: f"{one.profile}{', new' if one.is_new else ''}" for one in champions}
    create_table_artifact(
        table=[{**_row(one), "champion": crowned.get(one.disease, "")} for one in comparison.diseases],
        key="comparison",
        description=f"{first} against {second}. Not for diagnosis.",
    )
    create_link_artifact(
        link=side_by_side, link_text="these runs side by side in MLflow", key="compared-runs"
    )
    create_link_artifact(link=run, link_text="the comparison in MLflow", key="comparison-in-mlflow")


def comparison_metrics(comparison: Comparison) -> Iterator[tuple[str, float]]:
    """Yield every figure that is known, as docs/reference/metrics.md names it."""
    for one in comparison.diseases:
        for name, value in _figures_of(one):
            if finite(value) is not None:
                yield f"compare/{one.disease}/{name}", float(value)  # type: ignore[arg-type]


def _figures_of(one: DiseaseComparison) -> Iterator[tuple[str, float | None]]:
    if one.paired is None:
        return
    paired = one.paired
    yield from (("difference", paired.difference), ("low", paired.low), ("high", paired.high))
    yield from (("p_value", paired.p_value), ("p_holm", one.p_holm), ("images_needed", one.images_needed))
    yield from (("n_test", paired.n), ("n_patients", paired.patients), ("n_positive", one.n_positive))
    if one.mcnemar is not None:
        yield "mcnemar_p", one.mcnemar.p_value
    for side in one.sides:
        for name, value in _figures_of_side(side):
            yield f"{side.profile}/{name}", value


def _figures_of_side(side: Side) -> Iterator[tuple[str, float | None]]:
    yield from (("auroc", side.auroc), ("auroc_deviation", side.deviation), ("seeds", len(side.seeds)))
    yield from side.cost.to_json().items()


def _figures(comparison: Comparison) -> Iterator[tuple[str, bytes]]:
    """Yield name and PNG of every figure that can be drawn."""
    for one in comparison.diseases:
        drawn = roc_figure(one)
        if drawn is not None:
            yield f"roc-{one.disease}.png", drawn
    drawn = price_figure(comparison)
    if drawn is not None:
        yield "price.png", drawn


def _columns(comparison: Comparison) -> dict[str, list[Any]]:
    rows = [_row(one) for one in comparison.diseases]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _row(one: DiseaseComparison) -> dict[str, str]:
    """Return a row of the tables in MLflow and Prefect; every row has the same columns."""
    paired = one.paired
    first, second = one.sides if one.sides else (None, None)
    ends = "" if paired is None or paired.low is None else f"{paired.low:+.3f} to {paired.high:+.3f}"
    return {
        "disease": one.disease,
        "decision": one.decision,
        "verdict": one.verdict,
        "first AUROC": _auroc(first),
        "second AUROC": _auroc(second),
        "difference": "" if paired is None or paired.difference is None else f"{paired.difference:+.3f}",
        "interval": ends,
        "p corrected": "" if one.p_holm is None else f"{one.p_holm:.3g}",
        "test images": "" if paired is None else str(paired.n),
        "first seconds": _seconds(first),
        "second seconds": _seconds(second),
    }


def _auroc(side: Side | None) -> str:
    return "" if side is None or side.auroc is None or math.isnan(side.auroc) else f"{side.auroc:.3f}"


def _seconds(side: Side | None) -> str:
    return "" if side is None or side.cost.seconds is None else f"{side.cost.seconds:.1f}"


def _write_page(path: Path, text: str, *, asked: bool) -> Path:
    try:
        return _write(path, text.encode())
    except (StorageError, OSError) as error:  # the former speaks of the home folder
        if not asked:
            raise
        raise StorageError(
            "The page of the comparison cannot be written.",
            where=path,
            expected="a place that can be written, with free space",
            received=getattr(error.__cause__ or error, "strerror", None),
            fix="name another file: --html FILE; nothing is trained again for it",
        ) from error


def _write(path: Path, content: bytes) -> Path:
    return write_atomically(path, lambda file: file.write(content))
