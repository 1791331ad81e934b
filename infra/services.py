"""The parts of the stack that were started, as the home folder has them, and which of them still run.

    stack/stack.json

What runs is told by process and not by a file alone, so a file that was left over from a lost machine does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.processes import HOST, Process, answers
from tasks.files import read_json, write_json

#: In the order in which they are started.
NAMES = ("prefect", "mlflow", "worker")
#: Where each answers.
HEALTH = {"prefect": "/api/health", "mlflow": "/health", "worker": "/health"}


@dataclass(frozen=True, slots=True)
class Service:
    """One part of the stack.

    Attributes:
        name: of NAMES.
        process: that does it.
        port: that it listens at.
        databases: where those of the stack are, for people; empty for the worker, which needs none.
    """

    name: str
    process: Process
    port: int
    databases: str = ""

    @property
    def url(self) -> str:
        """Where it is found."""
        return f"http://{HOST}:{self.port}"

    def is_healthy(self) -> bool:
        """Tell whether its process is there and answers."""
        return self.process.is_running() and answers(self.url + HEALTH[self.name])


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, by name."""

    services: Mapping[str, Service]

    def environment(self) -> dict[str, str]:
        """Return the variables with which `prefect` and `mlflow` find it from any shell."""
        return {
            "PREFECT_API_URL": f"{self.services['prefect'].url}/api",
            "MLFLOW_TRACKING_URI": self.services["mlflow"].url,
        }

    def links(self) -> dict[str, str]:
        """Return the pages that people look at."""
        return {
            "Prefect": self.services["prefect"].url,
            "MLflow": f"{self.services['mlflow'].url}/#/experiments?workflowType=machine_learning",
        }

    def is_whole(self) -> bool:
        """Tell whether every part is there."""
        return set(self.services) == set(NAMES)


def running(home: Path) -> Stack:
    """Return which parts of the stack of a home folder have a process."""
    return Stack({name: one for name, one in noted(home).items() if one.process.is_running()})


def noted(home: Path) -> dict[str, Service]:
    """Return what was started, whether it is still there or not."""
    try:
        said = read_json(_file(home))
        return {
            name: Service(name, Process(**one["process"]), one["port"], one.get("databases", ""))
            for name, one in said.items()
        }
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return {}  # none, or half of one: nothing that can be ended


def note(home: Path, stack: Stack) -> None:
    """Keep what was started.

    Raises:
        StorageError: the home folder cannot be written.
    """
    if stack.services:
        write_json(_file(home), {name: asdict(one) for name, one in stack.services.items()})
    else:
        _file(home).unlink(missing_ok=True)


def _file(home: Path) -> Path:
    return home / "stack" / "stack.json"
