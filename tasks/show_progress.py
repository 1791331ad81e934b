"""Beside the stage that trains: checkpoints -> a bar for each disease in Prefect's page, with the time left.

In: the plan, and the folder where its training leaves a file after each epoch. Out: an artifact, renewed while it lasts.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.checkpoints import epochs_done
from tasks.core.estimate import Course
from tasks.core.pace import Forecast, duration
from tasks.core.plan import Plan

#: How often the bar is renewed, seconds: seen as steady, and little for a server on the same two cores.
_LOOK_S = 2.0


@contextlib.contextmanager
def showing_progress(plan: Plan, checkpoints: Path, forecast: Forecast | None) -> Iterator[None]:
    """Show how far the training in this context is. Where that cannot be shown, a warning says so, and it goes on.

    Args:
        plan: that it trains by.
        checkpoints: folder of its checkpoints.
        forecast: of the whole run; None where it was too little to be worth measuring.
    """
    over = threading.Event()
    last: list[str] = []
    place = contextvars.copy_context()  # of the task run that the artifact belongs to
    thread = threading.Thread(
        target=place.run, args=(_follow, plan, checkpoints, forecast, over, last), daemon=True
    )
    thread.start()
    try:
        yield
        last.append("trained")
    except BaseException:
        last.append("stopped")
        raise
    finally:
        over.set()
        thread.join()


def _follow(
    plan: Plan, checkpoints: Path, forecast: Forecast | None, over: threading.Event, last: list[str]
) -> None:
    course = Course(epochs_done(checkpoints), plan.figures.epochs, time.monotonic())
    expected = (
        "" if forecast is None else f"; the whole run is expected to take about {duration(forecast.seconds)}"
    )
    about = f"{plan.title} with {plan.profile}, not for diagnosis"
    try:
        bar: Any = create_progress_artifact(
            course.percent(course.first),
            key=f"progress-{plan.profile}-{plan.disease}".replace("_", "-"),
            description=f"{about}: waits for its turn{expected}.",
        )
        shown = course.first
        while not over.wait(_LOOK_S):
            done = epochs_done(checkpoints)
            if done != shown:
                said = f"{about}: {course.sentence(done, time.monotonic())}{expected}."
                update_progress_artifact(bar, progress=course.percent(done), description=said)
                shown = done
        done = course.total if last == ["trained"] else epochs_done(checkpoints)
        took = duration(time.monotonic() - course.began)
        said = f"{about}: {last[0]} after {took}{'' if done == course.total else f', epoch {done} of {course.total}'}."
        update_progress_artifact(bar, progress=course.percent(done), description=said)
    except httpx.HTTPError as error:
        get_run_logger().warning("How far %s is cannot be shown: %s.", plan.disease, type(error).__name__)
