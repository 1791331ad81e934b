"""What the worker can be asked to do: everything that needs TensorFlow. Paths and figures in, paths and figures out."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import resource
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks import loaded
from tasks.cache import SpaceKey
from tasks.checkpoints import CheckpointFolder
from tasks.core import classifier, fitting
from tasks.core.errors import first_line
from tasks.core.networks import weights_not_found
from tasks.core.operating_point import OperatingPoint, choose_operating_point
from tasks.core.out_of_memory import OutOfMemory, is_out_of_memory
from tasks.core.pixels import METHOD
from tasks.core.plan import Plan
from tasks.core.profile import Profile
from tasks.feature_spaces import BackboneKey, Draw, Features, FeatureSpaces
from tasks.files import read_json, write_json, writing
from tasks.inputs import BATCH, Squares, plain_inputs, training_inputs
from tasks.measure_machine import memory
from tasks.model_folder import save_model
from tasks.store import LabelledRows, read_rows, read_table


def describe_features(key: BackboneKey) -> Features:
    """Return shape and origin of the features of a backbone."""
    built = loaded.backbone(key)
    return Features(built.shape, built.cut)


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a forward pass cost: peak memory of the process in bytes, seconds, relative error of bfloat16 (0 without)."""

    peak_memory_bytes: int
    duration_s: float
    error: float


def embed(
    key: BackboneKey, pixels: SpaceKey, features: SpaceKey, images: list[str], draw: Draw | None
) -> Embedded:
    """Run cached pixels through the trunk and cache the features.

    Args:
        key: the backbone.
        pixels: space to read.
        features: space to write.
        images: rows of both.
        draw: how each image is moved about before; None leaves it as it is.

    Raises:
        PrecisionError: bfloat16 gives something else than float32.
    """
    began = time.perf_counter()
    source, target = loaded.space(pixels), loaded.space(features)
    source.refresh()
    run = loaded.forward(key, features.dtype)
    squares = Squares(source, images, draw)
    error = loaded.check_precision(key, features.dtype, squares.some(slice(BATCH)))
    parts = [run(squares.some(slice(n, n + BATCH))) for n in range(0, len(images), BATCH)]
    target.put(images, np.concatenate(parts))
    return Embedded(peak_memory_bytes(), time.perf_counter() - began, error)


def give_back_memory() -> None:
    """Return what the forward pass held to the system, where the C library can (glibc)."""
    loaded.forward.cache_clear()
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
        digest: sha256 of the trained weights: two runs with the same digest gave the same model.
        resumed_after: the epoch that a checkpoint spared; 0 where training began anew.
        damaged_checkpoints: files that could not be read.
        retried: what the first try died of; empty where it took one.
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
    digest: str
    resumed_after: int
    damaged_checkpoints: int
    retried: str = ""


def train(folder: Path, manifest: Path, spaces: FeatureSpaces, checkpoints: Path) -> Trained:
    """Train as `plan.json` in the folder says, on training and validation rows only.

    Writes `history.json`, `trained.npz` and `model/`, the whole model from raw pixels in MLflow's format.

    Raises:
        OutOfMemory: a step takes more than there is.
        TrainingDiverged: the loss is not finite.
        StorageError: the home folder cannot be written.
    """
    plan = Plan.from_json(read_json(folder / "plan.json"))
    figures = plan.figures
    for space in spaces.read_in(figures, seed=plan.seed):
        loaded.space(space).refresh()
    rows, validation_rows = (read_rows(manifest, split) for split in ("train", "validation"))
    targets = _targets(folder, rows, figures)
    training = fitting.Rows(targets, training_inputs(spaces, rows.images, figures, plan.seed))
    validation = fitting.Rows(validation_rows.labels, plain_inputs(spaces.plain, validation_rows.images))
    trainee = loaded.trainee(spaces.backbone, figures)
    prevalence = 0.5 if figures.class_weights == "balanced" else float(targets.mean())
    trainee.restart(figures, prevalence=prevalence, seed=plan.seed)
    _require_memory(trainee, plan)
    kept = CheckpointFolder(checkpoints)
    with _naming_a_shortage(trainee, plan):
        history = fitting.fit(
            trainee.model,
            training,
            validation,
            figures=figures,
            seed=plan.seed,
            disease=plan.disease,
            clock=time.perf_counter,
            checkpoints=kept,
        )
        fitted = time.perf_counter()
        scores = fitting.predict(trainee.model, validation, batch_size=figures.batch_size)
        point = choose_operating_point(validation.labels, scores, wanted_sensitivity=plan.wanted_sensitivity)
        model = classifier.assemble(trainee.backbone, trainee.head, name=plan.disease)
        write_json(folder / "history.json", [epoch.to_json() for epoch in history])
        weights = trainee.model.get_weights()
        with writing(folder):
            np.savez(folder / "trained.npz", *weights)
            save_model(model, folder / "model", metadata=_metadata(plan, point))
    return Trained(
        operating_point=point,
        best_epoch=fitting.best_epoch(history).number,
        steps=sum(epoch.steps for epoch in history),
        images=sum(epoch.images for epoch in history),
        fit_s=sum(epoch.duration_s for epoch in history),
        duration_s=time.perf_counter() - fitted + sum(epoch.duration_s for epoch in history),
        parameters=int(model.count_params()),
        trainable_parameters=int(sum(np.prod(w.shape) for w in model.trainable_variables)),
        peak_memory_bytes=peak_memory_bytes(),
        digest=hashlib.sha256(b"".join(weight.tobytes() for weight in weights)).hexdigest(),
        resumed_after=kept.resumed_after,
        damaged_checkpoints=kept.damaged,
    )


def _targets(folder: Path, rows: LabelledRows, figures: Profile) -> np.ndarray:
    """Return what training rows are fitted to, (n,) float32: labels, or labels mixed with a teacher's scores.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), at temperature 1.
    """
    if figures.teacher is None:
        return rows.labels
    table = read_table(folder / "teacher.parquet", ["image", "score"])
    scores = dict(zip(table["image"].to_pylist(), table["score"].to_pylist(), strict=True))
    taught = np.array([scores[image] for image in rows.images], np.float32)
    return (1 - figures.teacher_share) * rows.labels + figures.teacher_share * taught


def score(folder: Path, spaces: FeatureSpaces, images: list[str]) -> tuple[np.ndarray, float]:
    """Return (n,) float32 scores of cached images by the classifier in the folder, and the seconds it took."""
    began = time.perf_counter()
    figures = Plan.from_json(read_json(folder / "plan.json")).figures
    trainee = loaded.trainee(spaces.backbone, figures)
    with np.load(folder / "trained.npz") as weights:
        trainee.model.set_weights([weights[name] for name in weights.files])
    rows = fitting.Rows(np.zeros(len(images), np.float32), plain_inputs(spaces.plain, images))
    scores = fitting.predict(trainee.model, rows, batch_size=figures.batch_size)
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
    loaded.backbone(key)


def _require_memory(trainee: loaded.Trainee, plan: Plan) -> None:
    free, _ = memory()
    if not trainee.need.fits(min(plan.figures.batch_size, plan.n_train), free):
        raise _out_of_memory(trainee, plan, "it would take more than is free")


@contextlib.contextmanager
def _naming_a_shortage(trainee: loaded.Trainee, plan: Plan) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise _out_of_memory(trainee, plan, first_line(error)) from error
        raise


def _out_of_memory(trainee: loaded.Trainee, plan: Plan, cause: str) -> OutOfMemory:
    free, _ = memory()
    batch = min(plan.figures.batch_size, plan.n_train)
    return OutOfMemory(plan.disease, cause=cause, batch_size=batch, need=trainee.need, free=free)


def explain_death(plan: Plan, key: BackboneKey, cause: str) -> OutOfMemory:
    """Return the error for a training whose process was killed, as the system does where memory runs out."""
    return _out_of_memory(loaded.trainee(key, plan.figures), plan, cause)


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
