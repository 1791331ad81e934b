"""The process that holds TensorFlow: what it can be asked to do, and the pool that keeps it alive.

TensorFlow costs 5 s and 0.7 GB, so one worker is started early, imports it beside everything else, and serves
all diseases. It may die (no memory, a crash) without taking the flow along: only the request it was at fails.
Requests are paths and figures in, paths and figures out.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from pebble import ProcessExpired, ProcessPool

from tasks.cache import Space, SpaceKey
from tasks.core import backbone, classifier, fitting
from tasks.core.backbone import weights_not_found
from tasks.core.catalog import Profile
from tasks.core.errors import RadtrainError, first_line
from tasks.core.operating_point import OperatingPoint, choose_operating_point
from tasks.core.pixels import METHOD
from tasks.core.plan import Plan
from tasks.store import LabelledRows, read_json, read_rows, write_json, writing
from tasks.tracking import save_model

if TYPE_CHECKING:
    import keras

P = ParamSpec("P")
R = TypeVar("R")

#: Images that go through the backbone at once: nearly as fast as 64, with 0.2 GB less (docs/LOG.md).
BATCH = 16


@dataclass(frozen=True, slots=True)
class BackboneKey:
    """Which backbone: everything that `core.backbone.build` takes, and the digest of the weights."""

    name: str
    side: int
    alpha: float | None
    weights: str | None
    weights_digest: str


class Worker:
    """One process with TensorFlow, kept over requests; a request whose process dies raises, the next gets a new one."""

    def __init__(self, pool: ProcessPool) -> None:
        self._pool = pool

    def ask(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function of this module there, and return what it returns or raise what it raises.

        Raises:
            WorkerDied: the process ended in the middle of it.
        """
        future = self._pool.schedule(work, args=list(args), kwargs=dict(kwargs))
        try:
            return future.result()
        except ProcessExpired as death:
            raise WorkerDied(_cause(death.exitcode)) from death

    def tell(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have a function run there ahead of time; whether it fails is found out by whoever needs its result."""
        self._pool.schedule(work, args=list(args), kwargs=dict(kwargs))


class WorkerDied(RadtrainError):
    """The TensorFlow process ended in the middle of a request; the text says by what."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"The TensorFlow process ended: {cause}.",
            expected="a process that lives until its work is done",
            fix="run the same command again: what was computed is kept; if it was out of memory, close other "
            "programs or name fewer diseases",
        )


_ambient: ContextVar[Worker | None] = ContextVar("radtrain_worker", default=None)


@contextlib.contextmanager
def start_worker(log: Path | None = None) -> Iterator[Worker]:
    """Start the process at once, in the background; it ends with the context.

    Within the context, starting once more gives the same one: the command line starts it beside its own
    imports, and the flow, which must do without a command line, finds it there.

    Args:
        log: file that takes what TensorFlow writes to stderr, its last words included; None leaves it there.

    Raises:
        StorageError: the log cannot be written.
    """
    running = _ambient.get()
    if running is not None:
        yield running
        return
    if log is not None:
        with writing(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPool(max_workers=1, context=spawn, initializer=_warm_up, initargs=[log])
    try:
        pool.schedule(os.getpid)  # pebble starts its process with the first request
        worker = Worker(pool)
        token = _ambient.set(worker)
        try:
            yield worker
        finally:
            _ambient.reset(token)
    finally:
        pool.stop()
        pool.join()


def embed(key: BackboneKey, pixels: SpaceKey, features: SpaceKey, images: Sequence[str]) -> int:
    """Run cached pixels through the backbone and cache the features; return the peak memory in bytes."""
    source, target = _opened(pixels), _opened(features)
    source.refresh()
    run = _forward(key)
    parts = [run(source.read(images[n : n + BATCH])) for n in range(0, len(images), BATCH)]
    target.put(images, np.concatenate(parts))
    return peak_memory_bytes()


def give_back_memory() -> None:
    """Return what the forward pass held to the system, where the C library can (glibc)."""
    _forward.cache_clear()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@dataclass(frozen=True, slots=True)
class Trained:
    """What training gave, besides the files in the folder.

    Attributes:
        operating_point: threshold chosen on validation rows.
        best_epoch: number of the epoch that was kept.
        steps: batches trained on.
        images: that went through the head in them.
        fit_s: seconds of fitting.
        duration_s: seconds of fitting, scoring and saving.
        parameters: of the whole model.
        trainable_parameters: of them.
        peak_memory_bytes: of the worker's process so far.
    """

    operating_point: OperatingPoint
    best_epoch: int
    steps: int
    images: int
    fit_s: float
    duration_s: float
    parameters: int
    trainable_parameters: int
    peak_memory_bytes: int


def train(folder: Path, manifest: Path, key: BackboneKey, features: SpaceKey) -> Trained:
    """Train as `plan.json` in the folder says, on training and validation rows only.

    Writes `history.json`, `head.npz` and `model/`, the whole model from raw pixels in MLflow's format.
    """
    plan = Plan.from_json(read_json(folder / "plan.json"))
    space = _opened(features)
    space.refresh()
    training, validation = (_rows(space, read_rows(manifest, split)) for split in ("train", "validation"))
    began = time.perf_counter()
    head = _head(plan.figures, space.shape[0])  # pyright: ignore[reportArgumentType] - frozen models hash
    fresh = classifier.build_head(
        plan.figures, channels=space.shape[0], prevalence=float(training.labels.mean()), seed=plan.seed
    )
    classifier.restart(head, fresh)
    history = fitting.fit(
        head, training, validation, figures=plan.figures, seed=plan.seed, clock=time.perf_counter
    )
    fitted = time.perf_counter()
    scores = fitting.predict(head, validation, batch_size=plan.figures.batch_size)
    point = choose_operating_point(validation.labels, scores, wanted_sensitivity=plan.wanted_sensitivity)
    model = classifier.assemble(_backbone(key), head, name=plan.disease)
    write_json(folder / "history.json", [epoch.to_json() for epoch in history])
    with writing(folder):
        np.savez(folder / "head.npz", *head.get_weights())
        save_model(model, folder / "model", metadata=_metadata(plan, point))
    return Trained(
        operating_point=point,
        best_epoch=fitting.best_epoch(history).number,
        steps=sum(epoch.steps for epoch in history),
        images=sum(epoch.images for epoch in history),
        fit_s=fitted - began,
        duration_s=time.perf_counter() - began,
        parameters=int(model.count_params()),
        trainable_parameters=int(sum(np.prod(w.shape) for w in model.trainable_variables)),
        peak_memory_bytes=peak_memory_bytes(),
    )


def score(folder: Path, features: SpaceKey, images: Sequence[str]) -> tuple[np.ndarray, float]:
    """Return (n,) float32 scores of cached images by the head in the folder, and the seconds it took."""
    began = time.perf_counter()
    figures = Plan.from_json(read_json(folder / "plan.json")).figures
    space = _opened(features)
    head = _head(figures, space.shape[0])  # pyright: ignore[reportArgumentType] - frozen models hash
    with np.load(folder / "head.npz") as weights:
        head.set_weights([weights[name] for name in weights.files])
    rows = LabelledRows(list(images), np.zeros(len(images), np.float32), [])
    scores = fitting.predict(head, _rows(space, rows), batch_size=figures.batch_size)
    return scores, time.perf_counter() - began


def fetch_imagenet(name: str, side: int, alpha: float | None) -> None:
    """Have Keras download the ImageNet weights of a backbone into its cache.

    Raises:
        WeightsNotFound: the network or the server does not give them.
    """
    import keras

    width = {} if alpha is None else {"alpha": alpha}
    socket.setdefaulttimeout(20)  # a firewall that swallows packets must not hang the run
    try:
        getattr(keras.applications, name)(
            input_shape=(side, side, 3), include_top=False, weights="imagenet", **width
        )
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise weights_not_found(f"download failed: {first_line(error)}", name, side, alpha) from error
    finally:
        socket.setdefaulttimeout(None)


def peak_memory_bytes() -> int:
    """Return the largest resident size that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def build_ahead(key: BackboneKey) -> None:
    """Build the backbone before it is asked for."""
    _backbone(key)


def _warm_up(log: Path | None) -> None:
    """Import what every request needs, while the flow does other things."""
    if log is not None:
        with log.open("ab") as file:
            os.dup2(file.fileno(), sys.stderr.fileno())
    import keras  # noqa: F401
    from mlflow import tensorflow  # noqa: F401


@functools.lru_cache(maxsize=4)
def _opened(key: SpaceKey) -> Space:
    return key.open()


@functools.lru_cache(maxsize=2)
def _head(figures: Profile, channels: int) -> keras.Model:
    """Return the one head of these figures; whoever takes it puts in the weights that it needs."""
    return classifier.build_head(figures, channels=channels, prevalence=0.5, seed=0)


@functools.lru_cache(maxsize=1)
def _backbone(key: BackboneKey) -> keras.Model:
    weights = None if key.weights is None else Path(key.weights)
    return backbone.build(key.name, side=key.side, alpha=key.alpha, weights=weights)


@functools.lru_cache(maxsize=1)
def _forward(key: BackboneKey) -> Callable[[np.ndarray], np.ndarray]:
    return backbone.forward(_backbone(key))


def _rows(space: Space, rows: LabelledRows) -> fitting.Rows:
    """Return rows whose features are read from the cache batch by batch."""
    return fitting.Rows(rows.labels, lambda numbers: space.read([rows.images[n] for n in numbers]))


def _metadata(plan: Plan, point: OperatingPoint) -> dict[str, Any]:
    """Return what goes with the model wherever it goes."""
    return {
        "not_for_diagnosis": True,
        "disease": plan.disease,
        "profile": plan.profile,
        "plan_digest": plan.digest(),
        "manifest_digest": plan.manifest_digest,
        "pixels": METHOD,
        "threshold": point.threshold,
        "wanted_sensitivity": point.wanted_sensitivity,
    }


def _cause(exit_code: int) -> str:
    """Say by what a process ended."""
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"{name}{' (out of memory, or killed by hand)' if name == 'SIGKILL' else ''}"
    return f"exit code {exit_code}"
