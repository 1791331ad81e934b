"""Beside the stage that trains: checkpoints -> a bar for each disease in Prefect's page, with the time left.

In: the plan, and the folder where its training leaves a file after each epoch. Out: an artifact, renewed while it lasts.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.checkpoints import epochs_done
from tasks.core.estimate import Course
from tasks.core.pace import Forecast, duration
from tasks.core.plan import Plan

#: Takes one word when the training ends: how.
Ending: TypeAlias = "queue.SimpleQueue[str]"
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
    ending: Ending = queue.SimpleQueue()
    place = contextvars.copy_context()  # of the task run that the artifact belongs to
    words = (_follow, plan, checkpoints, forecast, ending)
    thread = threading.Thread(target=place.run, args=words, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        ending.put("stopped")
        raise
    else:
        ending.put("trained")
    finally:
        thread.join()


def _follow(plan: Plan, checkpoints: Path, forecast: Forecast | None, ending: Ending) -> None:
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
        while (how := _ended(ending)) is None:
            done = epochs_done(checkpoints)
            if done != shown:
                said = f"{about}: {course.sentence(done, time.monotonic())}{expected}."
                update_progress_artifact(bar, progress=course.percent(done), description=said)
                shown = done
        done = course.total if how == "trained" else epochs_done(checkpoints)
        took = duration(time.monotonic() - course.began)
        said = f"{about}: {how} after {took}{'' if done == course.total else f', epoch {done} of {course.total}'}."
        update_progress_artifact(bar, progress=course.percent(done), description=said)
    except httpx.HTTPError as error:
        get_run_logger().warning("How far %s is cannot be shown: %s.", plan.disease, type(error).__name__)


def _ended(ending: Ending) -> str | None:
    """Wait a moment for the end, and return how it came; None where it did not."""
    try:
        return ending.get(timeout=_LOOK_S)
    except queue.Empty:
        return None
