"""A real shortage of memory: the address space of the worker is limited, and the error names a batch that then fits."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks import compute, loaded
from tasks.cache import SpaceKey
from tasks.core.catalog import load_catalog
from tasks.core.out_of_memory import OutOfMemory
from tasks.core.profile import Profile
from tasks.feature_spaces import BackboneKey, FeatureSpaces, feature_spaces
from tasks.files import write_json
from tasks.measure_machine import memory
from tasks.store import write_table
from tasks.worker import fresh_worker, import_tensorflow
from tests.tasks.plans import plan

SIDE, N = 96, 96
IMAGES = [f"{n:064x}" for n in range(N)]
#: Nearly all layers are trained through, so that it is the images of a batch that take the memory.
DEEP = load_catalog().profile(
    "intensive",
    {
        "backbone": "MobileNetV2",
        "alpha": 0.35,
        "image_side": SIDE,
        "precision": "float32",
        "trainable_layers": 110,
        "batch_size": 64,
        "epochs": 1,
        "augmentation": {},
        "weights": "random",
    },
)


def test_a_shortage_names_a_batch_that_fits_and_that_batch_then_fits(tmp_path):
    with fresh_worker(tmp_path / "log", import_tensorflow) as worker:
        said, trained, steps = worker.ask(_train_with_little_memory, tmp_path)
    text = re.sub(r"[\d.,]+ MiB", "# MiB", said)
    assert text == (
        "Training is out of memory: it would take more than is free.\n"
        "  where:    pneumonia\n"
        "  expected: at most # MiB, of # MiB that are free\n"
        f"  received: about # MiB for a batch of 64 images and {trained:,} trained parameters\n"
        f"  fix:      --set batch_size={_named(said)}, or close other programs"
    )
    assert 1 <= _named(said) < 64
    assert steps == -(-64 // _named(said))


def _train_with_little_memory(folder: Path) -> tuple[str, int, int]:
    """Train as planned, then with the batch that the error names; return its text and what was trained."""
    spaces, manifest = _prepare(folder)
    need = loaded.trainee(_key(), DEEP).need
    free = int(need.of_batch(40) / 0.7)
    mapped = re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())
    assert mapped
    resource.setrlimit(resource.RLIMIT_AS, (int(mapped[1]) * 1024 + free,) * 2)
    assert 0 < (memory()[0] or 0) <= free
    with pytest.raises(OutOfMemory) as error:
        _train(folder / "refused", DEEP, spaces, manifest)
    fits = DEEP.model_copy(update={"batch_size": _named(str(error.value))})
    return str(error.value), need.trained, _train(folder / "fits", fits, spaces, manifest).steps


def _named(said: str) -> int:
    found = re.search(r"--set batch_size=(\d+)", said)
    return int(found[1]) if found else 0


def _key() -> BackboneKey:
    return BackboneKey("MobileNetV2", SIDE, 0.35, None, "random-0", DEEP.trainable_layers)


def _prepare(folder: Path) -> tuple[FeatureSpaces, Path]:
    pixels = SpaceKey(folder / "pixels", (("side", SIDE),), (SIDE, SIDE), "uint8")
    squares = np.random.default_rng(5).integers(0, 255, (N, SIDE, SIDE)).astype(np.uint8)
    pixels.open().put(IMAGES, squares)
    spaces = feature_spaces(folder, pixels, _key(), compute.describe_features(_key()), DEEP)
    compute.embed(_key(), pixels, spaces.plain, IMAGES, None)
    splits = ["train"] * 64 + ["validation"] * 32
    labels = np.tile([0, 1], N // 2).astype(np.int8)
    rows = pa.table({"image": IMAGES, "label": labels, "group": IMAGES, "split": splits})
    return spaces, write_table(folder / "manifest.parquet", rows)


def _train(folder: Path, figures: Profile, spaces: FeatureSpaces, manifest: Path) -> compute.Trained:
    write_json(folder / "plan.json", plan(figures, 0, counts=(64, 32, 0)).to_json())
    return compute.train(folder, manifest, spaces, folder / "checkpoints")
