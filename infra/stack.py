"""The stack of this machine: a Prefect server, an MLflow server and a worker, started, looked at and ended together.

    stack/lock   logs/{prefect-server,mlflow-server,worker-process}.log

Everything listens on 127.0.0.1, and nothing is ended that was not started here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.databases import Databases, databases
from infra.processes import (
    HOST,
    end_orphans,
    free_port,
    go_past_proxies,
    last_words,
    listener,
    start_process,
)
from infra.services import HEALTH, NAMES, Service, Stack, note, noted, running
from tasks.core.errors import RadtrainError, ServerError
from tasks.core.settings import Settings
from tasks.files import alone, prepare_home
from tasks.lifeline import has_lost

POOL = "radtrain"
#: Seconds until each must answer: a new database takes 10 s on two idle cores.
_PATIENCE_S = 120.0
_LOOK_S = 0.1
_LOGS = {"prefect": "prefect-server.log", "mlflow": "mlflow-server.log", "worker": "worker-process.log"}
#: In the environment of all that is started, so that it is known again: the home folder.
_MARK = "RADTRAIN_STACK"
#: They may hold a password, and what runs needs the two servers only.
_OF_DATABASES = ("RADTRAIN_DATABASE_URL", "PREFECT_API_DATABASE_CONNECTION_URL", "MLFLOW_BACKEND_STORE_URI")
_PORT_OPTIONS = {"prefect": "--prefect-port", "mlflow": "--mlflow-port"}


def up(settings: Settings, environment: Mapping[str, str], *, say: Callable[[str], None]) -> Stack:
    """Start what does not run yet, register all deployments, and return the stack once all of it answers.

    Args:
        settings: where things are, and which ports are wanted.
        environment: usually `os.environ`; runs inherit it.
        say: takes a line about each thing that is done.

    Raises:
        ServerError: a port is taken, a part did not come up, or the stack runs at other ports.
        StorageError: the home folder cannot be written.
        TrackingError: MLflow's database cannot be made.
        RadtrainError: the deployments could not be registered.
    """
    home = prepare_home(settings.home)
    with alone(home / "stack" / "lock"):
        stack = _without_orphans(home)
        wanted = {"prefect": settings.prefect_port, "mlflow": settings.mlflow_port}
        _require_ports(stack, wanted)
        changed = set(NAMES) - set(stack.services)
        words = environment_of_runs(settings, environment, wanted)
        made = databases(settings)
        _require_databases(stack, made)
        try:
            for name in ("prefect", "mlflow"):
                if name in changed:
                    made.prepare(name, settings)  # before anything else opens it
                    say(f"starting {name} at http://{HOST}:{wanted[name]}")
                    of_it = {**words, **made.environment(name)}
                    stack = _start(home, stack, name, wanted[name], of_it, databases=made.place)
            _wait(home, stack.services["prefect"])
            if has_lost(home):
                _wait(home, stack.services["mlflow"])  # for what registering does to lost runs
            if changed:  # otherwise MLflow comes up meanwhile
                say("registering deployments")
                for note in _run("deployments.register", words, "The deployments could not be registered."):
                    say(note)
            _wait(home, stack.services["mlflow"])
            if has_lost(home):
                say("ending runs that were lost")
                _run("tasks.end_lost_runs", words, "Runs that were lost could not be ended.")
            if "worker" in changed:
                say("starting the worker")
                port = free_port()
                healthy = {"PREFECT_WORKER_WEBSERVER_HOST": HOST, "PREFECT_WORKER_WEBSERVER_PORT": str(port)}
                stack = _start(home, stack, "worker", port, {**words, **healthy})
            _wait(home, stack.services["worker"])
        except BaseException:
            _stop(home, [name for name in NAMES if name in changed], say)
            raise
    return stack


def down(settings: Settings, environment: Mapping[str, str], *, say: Callable[[str], None]) -> list[str]:
    """End what `up` started, the worker and its runs first, and return the names of it.

    Raises:
        RadtrainError: a run was stopped, and that could not be recorded.
    """
    home = settings.home
    with alone(home / "stack" / "lock"):
        stack = _without_orphans(home)
        _stop(home, ["worker"], say)
        if {"prefect", "mlflow"} <= set(stack.services) and has_lost(home):
            say("recording that runs were stopped")
            ports = {name: one.port for name, one in stack.services.items()}
            words = environment_of_runs(settings, environment, ports)
            _run("tasks.end_lost_runs", words, "That runs were stopped could not be recorded.")
        _stop(home, list(NAMES), say)
        return [name for name in NAMES if name in stack.services]


def environment_of_runs(
    settings: Settings, environment: Mapping[str, str], ports: Mapping[str, int]
) -> dict[str, str]:
    """Return the environment of the stack's processes: that of the user, with all places made absolute."""
    said = dict(environment)
    for name in _OF_DATABASES:
        said.pop(name, None)
    places = {
        "RADTRAIN_DATA": settings.data,
        "RADTRAIN_CATALOG": settings.catalog,
        "RADTRAIN_HOME": settings.home,
    }
    go_past_proxies(said)
    said.update({name: str(place) for name, place in places.items() if place is not None})
    return {
        **said,
        _MARK: str(settings.home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), said.get("PATH", os.defpath)]),
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_API_URL": f"http://{HOST}:{ports['prefect']}/api",
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports['mlflow']}",
        # A run is picked up within a second or two instead of ten, and seen to be alive twice a minute.
        "PREFECT_WORKER_QUERY_SECONDS": said.get("PREFECT_WORKER_QUERY_SECONDS", "2"),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": said.get("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30"),
    }


def _without_orphans(home: Path) -> Stack:
    """Return what runs, after ending what a killed part left behind: it would hold the port."""
    stack = running(home)
    for name, one in noted(home).items():
        if name not in stack.services:
            end_orphans(one.process.pid, (_MARK, str(home)))
    return stack


def _words(name: str, port: int, home: Path) -> list[str]:
    prefect = [sys.executable, "-m", "prefect"]
    place = ["--host", HOST, "--port", str(port)]
    return {
        "prefect": [*prefect, "server", "start", *place],
        "mlflow": [
            *[sys.executable, "-m", "mlflow", "server", *place, "--workers", "1"],
            *["--artifacts-destination", (home / "mlartifacts").as_uri()],
        ],
        "worker": [
            *[*prefect, "worker", "start", "--pool", POOL, "--type", "process", "--name", "this-machine"],
            *["--with-healthcheck", "--no-create-pool-if-not-found"],
        ],
    }[name]


def _start(
    home: Path, stack: Stack, name: str, port: int, environment: Mapping[str, str], *, databases: str = ""
) -> Stack:
    taken = listener(HOST, port)
    if taken:
        option = _PORT_OPTIONS.get(name, "")
        raise ServerError(
            f"The port of {name} is taken.",
            where=f"{HOST}:{port}",
            expected="a port that nobody listens at",
            received=taken,
            fix=f"end that process, or name another port: radtrain up {option} PORT",
        )
    process = start_process(_words(name, port, home), environment, home / "logs" / _LOGS[name])
    stack = Stack({**stack.services, name: Service(name, process, port, databases)})
    note(home, stack)
    return stack


def _wait(home: Path, service: Service) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while not service.is_healthy():
        if not service.process.is_running() or time.monotonic() > ends:
            log = home / "logs" / _LOGS[service.name]
            raise ServerError(
                f"The {service.name} of the stack did not come up.",
                where=service.url,
                expected=f"an answer at {HEALTH[service.name]} within {_PATIENCE_S:.0f} s",
                received=last_words(log) or "nothing",
                fix=f"mend what its log says, {log}, then radtrain up again",
            )
        time.sleep(_LOOK_S)


def _run(module: str, environment: Mapping[str, str], complaint: str) -> list[str]:
    """Run a module as a process of its own, since Prefect reads the address of its server when it is imported.

    Returns:
        The lines that it printed.
    """
    words = [sys.executable, "-m", module]
    done = subprocess.run(  # noqa: S603 - our own words, no shell
        words, env=dict(environment), check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise RadtrainError(
            complaint,
            where=environment["PREFECT_API_URL"],
            received="\n            ".join(said[-8:]),
            fix="mend what is said there, then radtrain up again",
        )
    return done.stdout.splitlines()


def _stop(home: Path, names: list[str], say: Callable[[str], None]) -> None:
    left = dict(running(home).services)
    for name in reversed([name for name in names if name in left]):
        say(f"stopping {name}")
        if left[name].process.stop():
            say(f"{name} had to be killed")
        left.pop(name)
        note(home, Stack(left))


def _require_ports(stack: Stack, wanted: Mapping[str, int]) -> None:
    for name, port in wanted.items():
        if name in stack.services and stack.services[name].port != port:
            raise ServerError(
                f"The stack of this home folder runs already, with {name} at another port.",
                where=stack.services[name].url,
                expected=f"port {port}",
                received=f"port {stack.services[name].port}",
                fix="radtrain down, then radtrain up with the ports that you want; or leave the option out",
            )


def _require_databases(stack: Stack, wanted: Databases) -> None:
    """See that one server is not started on other databases than those that the other one works on."""
    for one in stack.services.values():
        if one.databases and one.databases != wanted.place:
            raise ServerError(
                "The stack of this home folder runs already, on other databases.",
                where="RADTRAIN_DATABASE_URL",
                expected=one.databases,
                received=wanted.place,
                fix="set it as it was when the stack was started; or radtrain down, then radtrain up to change it",
            )
