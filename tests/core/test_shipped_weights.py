"""The shipped base: the file is the one documented, small enough to ship, and fits the network it is for."""

import hashlib
import re
from pathlib import Path

import numpy as np

from tasks.core.backbone import build, forward
from tasks.core.phantoms import DISEASES, draw
from tasks.pretrain_backbone import ALPHA, DEFAULT_OUT, IMAGE_SIDE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "phantom-base.md"


def test_the_shipped_file_has_the_documented_digest():
    documented = re.findall(r"\b[0-9a-f]{64}\b", PAGE.read_text(encoding="utf-8"))
    assert documented == [hashlib.sha256(DEFAULT_OUT.read_bytes()).hexdigest()]


def test_the_shipped_file_is_under_4_mb():
    assert DEFAULT_OUT.stat().st_size < 4_000_000


def test_the_shipped_file_holds_finite_float16_arrays_in_order():
    with np.load(DEFAULT_OUT) as arrays:
        assert arrays.files == [f"{number:03d}" for number in range(len(arrays.files))]
        for name in arrays.files:
            assert arrays[name].dtype == np.float16
            assert np.isfinite(arrays[name]).all()


def test_the_shipped_weights_give_finite_features_that_tell_body_parts_apart():
    built = build("MobileNetV2", side=IMAGE_SIDE, alpha=ALPHA, weights=DEFAULT_OUT)
    base = forward(built.trunk, precision="float32", dtype="float32")
    chest, knee = DISEASES[0], DISEASES[1]
    gray = [
        draw(disease, patient=patient, view=1, side=IMAGE_SIDE).pixels
        for disease in (chest, knee)
        for patient in range(4)
    ]
    features = base(np.stack(gray))
    assert features.shape == (8, 1280)
    assert np.isfinite(features).all()
    directions = features - features.mean(axis=0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosine = directions @ directions.T
    assert cosine[:4, :4].min() > cosine[:4, 4:].max()
