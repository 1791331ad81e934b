"""What `radtrain doctor` looks at: the program, the catalog, data, weights, home, servers and the machine.

In: the settings and the environment of a run. Out: lines. Every probe has a thread of its own, so that a dead
network mount costs seconds and not the answer; none imports TensorFlow, MLflow, Prefect or Great Expectations.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import platform
import shlex
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import measure_machine as machine
from tasks.ask_servers import ask_mlflow, ask_prefect
from tasks.core import capacity, diagnosis
from tasks.core.diagnosis import INSTALL, Line, fail, ok, warn
from tasks.core.errors import (
    CatalogError,
    ChecksFailed,
    DataNotFound,
    RadtrainError,
    ServerError,
    StorageError,
    TrackingError,
    WeightsNotFound,
    first_line,
)
from tasks.core.settings import Settings

if TYPE_CHECKING:
    from tasks.core.catalog import Catalog

#: Twice what the slowest server is given: by then only a disk or a name server that hangs has not answered.
PATIENCE_S = 4.5
#: The packages whose imports take seconds.
LARGE = ("tensorflow", "keras", "mlflow", "prefect", "great_expectations")


@dataclass(frozen=True, slots=True)
class Setup:
    """What the probes may look at.

    Attributes:
        settings: where things are.
        environment: usually `os.environ`.
        catalog: the catalog once it is read, or the error that it ended in.
    """

    settings: Settings
    environment: Mapping[str, str]
    catalog: Future[Catalog]


def diagnose(
    settings: Settings, environment: Mapping[str, str], *, patience_s: float = PATIENCE_S
) -> list[Line]:
    """Look at everything a run needs and return a line for each thing, in the order in which one would mend them.

    Makes the home folder where it is not there, as a run does, and leaves nothing else behind.
    """
    ends = time.monotonic() + patience_s
    setup = Setup(settings, environment, _start(lambda: _load(settings)))
    asked = [(name, kind, _start(lambda probe=probe: probe(setup))) for name, kind, probe in PROBES]
    return [line for name, kind, lines in asked for line in _collect(name, kind, lines, ends)]


def _start(work: Callable[[], Any]) -> Future[Any]:
    """Run something in a thread that does not keep the program from ending."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is read
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _collect(name: str, kind: type[RadtrainError], lines: Future[list[Line]], ends: float) -> list[Line]:
    """Return the lines of a probe, or one that fails for what kept it from making them."""
    try:
        return lines.result(timeout=max(0.0, ends - time.monotonic()))
    except ImportError as error:
        remedy = INSTALL.format(python=sys.executable)
        return [fail(name, f"cannot be looked at: {first_line(error)}", remedy=remedy)]
    except RadtrainError as error:
        return [diagnosis.of_error(name, error)]
    except TimeoutError as error:
        text = "no answer in time" if not lines.done() else first_line(error)
        remedy = "see whether a disk or network mount that it needs hangs, then ask again"
        return [fail(name, text, remedy=remedy, kind=kind)]
    except (OSError, sqlite3.Error, UnicodeError) as error:
        text = getattr(error, "strerror", None) or first_line(error)
        place = getattr(error, "filename", None)
        remedy = "mend what the system says here, then ask again"
        return [fail(name, f"{text}: {place}" if place else text, remedy=remedy, kind=kind)]


def _python(_: Setup) -> list[Line]:
    about = f"{platform.system()} {platform.machine()}, radtrain {metadata.version('radtrain')}"
    required = metadata.metadata("radtrain")["Requires-Python"] or ""
    version = ".".join(map(str, sys.version_info[:3]))  # platform's may end in a + that is no version
    return [diagnosis.judge_python(version, required=required, about=about)]


def _bytecode(setup: Setup) -> list[Line]:
    folders = {name: _package_folder(name) for name in LARGE}
    waiting = [name for name, folder in folders.items() if folder and not _is_compiled(folder)]
    place = next((folder.parent for folder in folders.values() if folder), Path())
    allowed = not sys.dont_write_bytecode and not setup.environment.get("PYTHONDONTWRITEBYTECODE")
    written = allowed and os.access(place, os.W_OK)
    return [diagnosis.judge_bytecode(waiting, will_be_written=written, place=str(place))]


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)  # finds a package without importing it
    return Path(spec.origin).parent if spec and spec.origin else None


def _is_compiled(folder: Path) -> bool:
    """Tell whether the files right in a package's folder have bytecode of this Python; they stand for the rest."""
    return all(os.path.isfile(importlib.util.cache_from_source(str(file))) for file in folder.glob("*.py"))


def _packages(_: Setup) -> list[Line]:
    from packaging.requirements import Requirement

    required = metadata.requires("radtrain") or []
    installed = {name: _version(name) for name in (Requirement(text).name for text in required)}
    return diagnosis.judge_packages(required, installed)


def _tensorflow(_: Setup) -> list[Line]:
    installed = {name: _version(name) for name in diagnosis.TENSORFLOWS}
    return [diagnosis.judge_tensorflow(installed, driver=machine.nvidia_driver())]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _load(settings: Settings) -> Catalog:
    from tasks.core.catalog import load_catalog

    return load_catalog(settings.catalog)


def _catalog(setup: Setup) -> list[Line]:
    catalog = setup.catalog.result()
    text = f"{len(catalog.disease_keys(None))} diseases, {len(catalog.profiles)} profiles"
    return [ok("catalog", text + (f", with {setup.settings.catalog}" if setup.settings.catalog else ""))]


def _data(setup: Setup) -> list[Line]:
    root = setup.settings.data
    if root is None:
        remedy = "name the folder that holds the images: --data DIR, or export RADTRAIN_DATA=DIR"
        return [warn("data", "no data root is named; radtrain demo needs none", remedy=remedy)]
    os.scandir(setup.settings.require_data()).close()  # raises where it may not be read
    if setup.catalog.exception() is not None:
        return [ok("data", f"{root} is there; the catalog does not say what to look for")]
    catalog = setup.catalog.result()
    keys = catalog.disease_keys(None)
    named = [source.folder for key in keys for source in catalog.diseases[key].sources]
    there = [folder for folder in named if os.path.isdir(root / folder)]
    text = f"{root}: {len(there)} of {len(named)} source folders are there"
    if len(there) == len(named):
        return [ok("data", text)]
    words = ["radtrain", "check", "--data", str(root)]
    words += ["--catalog", str(setup.settings.catalog)] if setup.settings.catalog else []
    remedy = f"{shlex.join(words)}: it says which lines mend the catalog"
    return [fail("data", text, remedy=remedy, kind=ChecksFailed if there else DataNotFound)]


def _weights(setup: Setup) -> list[Line]:
    """Find the weights of every profile, as `tasks/find_weights.py` would."""
    if setup.catalog.exception() is not None:
        return []
    from tasks.core.networks import imagenet_file, network

    home = setup.environment.get("KERAS_HOME")
    cache = (Path(home) if home else Path.home() / ".keras") / "models"
    found, missing = {}, {}
    for key, profile in setup.catalog.result().profiles.items():
        name, side, alpha = profile.backbone, profile.image_side, profile.alpha
        network(name, alpha=alpha, side=side)  # raises where the catalog names no backbone that there is
        if profile.weights == "random":
            found[key] = "random"
            continue
        own = profile.weights != "imagenet"
        file = profile.weights if own else imagenet_file(name, side=side, alpha=alpha)
        path = Path(os.path.expanduser(file)) if own else cache / file
        if os.path.isfile(path):
            found[key] = f"{path} ({os.path.getsize(path) / 2**20:.1f} MiB)"
        else:
            missing[key] = str(path) if own else file
    return [diagnosis.judge_weights(missing, found=found, cache=str(cache))]


def _home(setup: Setup) -> list[Line]:
    from tasks.files import prepare_home

    home = prepare_home(setup.settings.home)
    return [
        capacity.judge_home(str(home), file_system=machine.file_system(home)),
        _try_locks(home),
        _measure_space(home),
    ]


def _try_locks(home: Path) -> Line:
    """Lock a file and write a database in the home folder, as runs do; both fail on some network mounts."""
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=home) as folder:
        try:
            with open(Path(folder, "lock"), "wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with closing(sqlite3.connect(Path(folder, "trial.db"), timeout=1.0)) as database:
                database.execute("CREATE TABLE trial (number INTEGER)")
                database.commit()
        except (OSError, sqlite3.Error) as error:
            remedy = "name a home on a disk of this machine, with space left: --home DIR"
            text = f"a file cannot be locked, or SQLite not written, in the home: {first_line(error)}"
            return fail("locks", text, remedy=remedy, kind=StorageError)
    return ok("locks", "files can be locked and SQLite written in the home folder")


def _measure_space(home: Path) -> Line:
    disk = os.statvfs(home)
    cached = 0
    for folder, _, files in os.walk(home / "cache"):
        for name in files:
            try:
                cached += os.lstat(Path(folder, name)).st_size
            except FileNotFoundError:  # a run removed it meanwhile
                continue
    free = disk.f_bavail * disk.f_frsize
    return capacity.judge_space(free, inodes=disk.f_favail if disk.f_files else None, cached=cached)


def _prefect(setup: Setup) -> list[Line]:
    return [ask_prefect(setup.environment.get("PREFECT_API_URL", ""))]


def _mlflow(setup: Setup) -> list[Line]:
    return [ask_mlflow(setup.settings.tracking_uri, home=setup.settings.home)]


def _machine(setup: Setup) -> list[Line]:
    import resource

    cores, quota = machine.usable_cores(), machine.cpu_quota()
    available, limit = machine.memory()
    return [
        capacity.judge_cores(cores, quota=quota, load=machine.load()),
        capacity.judge_threads(setup.environment, cores=min(cores, quota or cores)),
        capacity.judge_memory(available, limit=limit),
        capacity.judge_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    ]


#: What is looked at, in the order shown; the error that a run would end with where the probe itself cannot work.
PROBES: tuple[tuple[str, type[RadtrainError], Callable[[Setup], list[Line]]], ...] = (
    ("python", RadtrainError, _python),
    ("bytecode", RadtrainError, _bytecode),
    ("packages", RadtrainError, _packages),
    ("tensorflow", RadtrainError, _tensorflow),
    ("telemetry", RadtrainError, lambda setup: [diagnosis.judge_telemetry(setup.environment)]),
    ("catalog", CatalogError, _catalog),
    ("data", DataNotFound, _data),
    ("weights", WeightsNotFound, _weights),
    ("home", StorageError, _home),
    ("prefect", ServerError, _prefect),
    ("mlflow", TrackingError, _mlflow),
    ("machine", RadtrainError, _machine),
)
