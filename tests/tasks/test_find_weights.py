"""Where the weights of a profile's backbone are, without TensorFlow: the worker here is never started."""

from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path

import pytest
from pebble import ProcessPool

from tasks.core.catalog import load_catalog
from tasks.core.errors import CatalogError
from tasks.core.profile import Profile
from tasks.feature_spaces import BackboneKey
from tasks.find_weights import find_weights
from tasks.worker import Worker


def profile(**figures: object) -> Profile:
    return load_catalog().profile("fast").model_copy(update={"weights": "imagenet", **figures})


def idle_worker() -> Worker:
    return Worker(lambda: ProcessPool(max_workers=1), multiprocessing.Value("i", 0), None)


@pytest.mark.parametrize(
    ("backbone", "alpha", "side", "file"),
    [
        ("MobileNetV2", 0.75, 128, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.75_128_no_top.h5"),
        ("MobileNet", None, 100, "mobilenet_1_0_224_tf_no_top.h5"),
        ("MobileNetV3Large", 0.75, 128, "weights_mobilenet_v3_large_224_0.75_float_no_top_v2.h5"),
        ("EfficientNetB3", None, 300, "efficientnetb3_notop.h5"),
        ("NASNetMobile", None, 96, "nasnet_mobile_no_top.h5"),
    ],
)
def test_imagenet_weights_of_any_network_are_taken_from_keras_cache(
    tmp_path: Path, monkeypatch, backbone, alpha, side, file
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / file).write_bytes(b"weights")
    found = find_weights(profile(backbone=backbone, alpha=alpha, image_side=side), idle_worker())
    digest = hashlib.sha256(b"weights").hexdigest()
    assert found == BackboneKey(backbone, side, alpha, str(tmp_path / "models" / file), digest)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"alpha": 0.6}, "no ImageNet weights of MobileNetV2 with this alpha"),
        ({"backbone": "Xception", "alpha": None, "image_side": 64}, "images are too small for Xception"),
        ({"backbone": "Xception", "image_side": 128}, "Xception cannot have this alpha"),
        ({"backbone": "Xcepton", "alpha": None}, "Did you mean 'Xception'"),
    ],
)
def test_a_backbone_that_cannot_be_as_the_profile_wants_it_is_refused_before_anything_is_fetched(
    figures, said
):
    with pytest.raises(CatalogError, match=said):
        find_weights(profile(**figures), idle_worker())


def test_a_width_without_imagenet_weights_can_start_from_random_ones_or_a_file(tmp_path: Path):
    found = find_weights(profile(alpha=0.6, weights="random"), idle_worker())
    assert (found.alpha, found.weights_digest) == (0.6, "random-0")
    file = tmp_path / "mine.npz"
    file.write_bytes(b"mine")
    assert find_weights(profile(alpha=0.6, weights=str(file)), idle_worker()).weights == str(file)
