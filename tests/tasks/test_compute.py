"""What the worker computes: training sees no test row, forgets the one before, and goes on after a break."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest

from tasks import compute, loaded
from tasks.cache import SpaceKey
from tasks.compute import Trained
from tasks.core.augmentation import augment
from tasks.core.backbone import relative_error, weights_digest
from tasks.core.catalog import load_catalog
from tasks.core.profile import Profile
from tasks.feature_spaces import BackboneKey, FeatureSpaces, feature_spaces
from tasks.files import read_json, write_json
from tasks.inputs import training_inputs
from tasks.measure_machine import has_bfloat16
from tasks.measure_pace import measure_pace
from tasks.store import write_table
from tests import small_network
from tests.tasks.plans import plan

COUNTS = N_TRAIN, N_VALIDATION, N_TEST = 48, 24, 8
SPLITS = ["train"] * N_TRAIN + ["validation"] * N_VALIDATION + ["test"] * N_TEST
IMAGES = [f"{n:064x}" for n in range(len(SPLITS))]
LABELS = np.tile([0, 1], len(SPLITS) // 2)
needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")


@dataclass(frozen=True)
class Ground:
    """A cache, what is to be trained on it, and how."""

    folder: Path
    figures: Profile
    table: pa.Table
    spaces: Callable[[Profile], FeatureSpaces]

    def train(
        self, name: str, *, figures: Profile | None = None, seed: int = 0, table: pa.Table | None = None
    ):
        """Train as a run does, its features cached before; return what came of it and the weights."""
        figures = figures or self.figures
        spaces = self.spaces(figures)
        train, others = IMAGES[:N_TRAIN], IMAGES[N_TRAIN:]
        for space, images in spaces.wanted(train, others, figures=figures, seed=seed).items():
            missing = space.open().missing(sorted(images))
            if missing:
                compute.embed(spaces.backbone, spaces.pixels, space, missing, spaces.drawn(space))
        folder = self.folder / name
        write_json(folder / "plan.json", plan(figures, seed, counts=COUNTS).to_json())
        manifest = write_table(folder / "manifest.parquet", table or self.table)
        trained = compute.train(folder, manifest, spaces, folder / "checkpoints")
        with np.load(folder / "trained.npz") as weights:
            return trained, [weights[part] for part in weights.files]


def manifest(labels: np.ndarray = LABELS) -> pa.Table:
    return pa.table({"image": IMAGES, "label": labels.astype(np.int8), "group": IMAGES, "split": SPLITS})


def squares() -> np.ndarray:
    """Return (n, 64, 64) uint8: textured squares, brighter above where the label is 1."""
    drawn = np.random.default_rng(5).integers(0, 190, (len(IMAGES), 64, 64))
    drawn[LABELS == 1, 8:32, 12:52] += 60
    return drawn.astype(np.uint8)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> BackboneKey:
    """A small network, its last 30 layers trainable."""
    path = small_network.write_weights(tmp_path_factory.mktemp("weights") / "small.npz")
    return BackboneKey("MobileNetV2", 64, 0.35, str(path), weights_digest(path), 30)


@pytest.fixture(scope="module")
def ground(tmp_path_factory, network) -> Ground:
    folder = tmp_path_factory.mktemp("ground")
    pixels = SpaceKey(folder / "cache" / "pixels", (("side", 64),), (64, 64), "uint8")
    pixels.open().put(IMAGES, squares())
    features = compute.describe_features(network)
    figures = load_catalog().profile(
        "intensive",
        {
            "backbone": "MobileNetV2",
            "alpha": 0.35,
            "image_side": 64,
            "precision": "float32",
            "batch_size": 16,
            "epochs": 3,
            "dense_units": 16,
            "learning_rate": 0.001,
            "augmentation_variants": 3,
        },
    )

    def spaces(of: Profile) -> FeatureSpaces:
        return feature_spaces(folder / "cache", pixels, network, features, of)

    return Ground(folder, figures, manifest(), spaces)


@pytest.fixture(scope="module")
def first(ground) -> tuple[Trained, list[np.ndarray]]:
    return ground.train("first")


# ---- what is trained


def test_the_tail_is_trained_with_the_head_and_its_batch_norms_keep_their_statistics(ground, network, first):
    trainee = loaded.trainee(network, ground.figures)
    tail = trainee.model.layers[1]
    beginning = dict(zip((variable.path for variable in tail.variables), trainee.tail, strict=True))
    weights = dict(zip((variable.path for variable in trainee.model.weights), first[1], strict=True))
    trainable = {variable.path for variable in trainee.model.trainable_variables}
    of_tail = trainable & set(beginning)
    assert any("/kernel" in path for path in of_tail)
    assert not any("BN" in path for path in of_tail)
    for path, value in beginning.items():
        assert np.array_equal(weights[path], value) == (path not in trainable), path
    assert first[0].trainable_parameters == sum(weights[path].size for path in trainable)
    assert first[0].parameters > first[0].trainable_parameters


def test_three_epochs_of_three_batches_are_counted(first):
    assert (first[0].steps, first[0].images) == (9, 9 * 16)
    assert (first[0].resumed_after, first[0].damaged_checkpoints) == (0, 0)


def test_the_model_takes_raw_pixels_and_gives_the_scores_of_the_trained_one_on_cached_features(ground, first):
    from mlflow import tensorflow

    test = IMAGES[N_TRAIN + N_VALIDATION :]
    scores, seconds = compute.score(ground.folder / "first", ground.spaces(ground.figures), test)
    raw = np.repeat(squares()[N_TRAIN + N_VALIDATION :, ..., None], 3, axis=-1).astype(np.float32)
    model = tensorflow.load_model(str(ground.folder / "first" / "model"))
    np.testing.assert_allclose(np.ravel(model.predict(raw, verbose=0)), scores, atol=2e-3)  # float16 features
    assert np.ptp(scores) > 0.02
    assert seconds > 0


# ---- variants


def test_training_on_cached_variants_is_training_on_those_drawn_while_training(ground, first):
    """Seed 0 with at least as many variants as epochs: what is cached is what would be drawn."""
    live = ground.figures.model_copy(update={"augmentation_variants": 0})
    assert ground.spaces(live).live
    trained, weights = ground.train("live", figures=live)
    for one, other in zip(weights, first[1], strict=True):
        assert relative_error(one, other) < 1e-3
    assert trained.operating_point.threshold == pytest.approx(first[0].operating_point.threshold, abs=1e-3)


def test_the_features_of_a_variant_are_those_of_its_moved_pixels(ground, network, first):
    spaces, numbers = ground.spaces(ground.figures), np.array([3, 40, 7])
    images = [IMAGES[n] for n in numbers]
    table = ground.figures.augmentation
    moved = np.stack([augment(squares()[n], table, seed=0, image=IMAGES[n], number=2) for n in numbers])
    expected = loaded.forward(network, "float16")(moved)
    np.testing.assert_allclose(spaces.variants[1].open().read(images), expected, rtol=1e-2, atol=1e-2)
    assert relative_error(spaces.variants[0].open().read(images), expected) > 0.1
    read = training_inputs(spaces, IMAGES[:N_TRAIN], ground.figures, 0)
    np.testing.assert_array_equal(read(numbers, 2), spaces.variants[1].open().read(images).astype(np.float32))
    # Another seed begins at another place of the same pool.
    read = training_inputs(spaces, IMAGES[:N_TRAIN], ground.figures, 1)
    np.testing.assert_array_equal(read(numbers, 1), spaces.variants[1].open().read(images).astype(np.float32))


def test_each_epoch_of_a_live_training_draws_anew_and_each_seed_other_images(ground):
    live = ground.figures.model_copy(update={"augmentation_variants": 0})
    numbers = np.arange(4)

    def features(seed: int, epoch: int) -> bytes:
        return training_inputs(ground.spaces(live), IMAGES[:N_TRAIN], live, seed)(numbers, epoch).tobytes()

    assert features(0, 1) == features(0, 1)
    assert len({features(0, 1), features(0, 2), features(1, 1)}) == 3


# ---- the same again, and a break


def test_training_again_forgets_what_was_trained_in_between(ground, first):
    other, _ = ground.train("another seed", seed=1)
    narrow = ground.figures.model_copy(update={"dense_units": 8, "epochs": 1})
    ground.train("other figures", figures=narrow)
    again, weights = ground.train("again")
    assert again.digest == first[0].digest != other.digest
    for one, two in zip(weights, first[1], strict=True):
        np.testing.assert_array_equal(one, two)
    assert again.operating_point == first[0].operating_point
    assert _untimed(ground.folder / "again") == _untimed(ground.folder / "first")


def _untimed(folder: Path) -> list[dict[str, object]]:
    return [{**epoch, "duration_s": 0} for epoch in read_json(folder / "history.json")]


def test_training_goes_on_from_its_last_sound_checkpoint_with_the_same_result(ground, first):
    folder = ground.folder / "broken off" / "checkpoints"
    shutil.copytree(ground.folder / "first" / "checkpoints", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-0002.npz", "epoch-0003.npz"]
    (folder / "epoch-0003.npz").write_bytes(b"damaged")
    resumed, _ = ground.train("broken off")
    assert (resumed.resumed_after, resumed.damaged_checkpoints) == (2, 1)
    assert resumed.digest == first[0].digest
    assert resumed.steps == first[0].steps
    assert _untimed(ground.folder / "broken off") == _untimed(ground.folder / "first")


# ---- no look at test rows


def test_no_test_row_has_a_hand_in_weights_epoch_or_threshold(ground, first):
    flipped = np.where(np.array(SPLITS) == "test", 1 - LABELS, LABELS)
    other, _ = ground.train("test labels flipped", table=manifest(flipped))
    assert other.digest == first[0].digest
    assert other.operating_point == first[0].operating_point
    assert other.best_epoch == first[0].best_epoch


def test_a_training_label_does_have_a_hand_in_them(ground, first):
    labels = LABELS.copy()
    labels[:20] = 1 - labels[:20]
    other, _ = ground.train("other labels", table=manifest(labels))
    assert other.digest != first[0].digest


def test_the_operating_point_reaches_the_wanted_sensitivity_on_validation_rows(first):
    assert first[0].operating_point.sensitivity >= 0.8
    assert first[0].operating_point.n == N_VALIDATION


def test_the_folder_holds_history_weights_and_a_model_that_says_what_it_is_not_for(ground, first):
    folder = ground.folder / "first"
    assert len(read_json(folder / "history.json")) == 3
    said = (folder / "model" / "MLmodel").read_text()
    assert "not_for_diagnosis: true" in said
    assert "threshold: " in said


# ---- a frozen backbone


def test_on_a_frozen_backbone_only_the_head_is_trained(tmp_path):
    random = np.random.default_rng(2)
    features = random.normal(size=(len(IMAGES), 1280)).astype(np.float32)
    features[:, :20] += LABELS[:, None] * 0.7
    plain = SpaceKey(tmp_path / "features", (("of", "a test"),), (1280,), "float32")
    plain.open().put(IMAGES, features)
    key = BackboneKey("MobileNetV2", 64, 0.35, None, "random-0")
    figures = load_catalog().profile("fast", {"image_side": 64, "alpha": 0.35, "weights": "random"})
    pixels = SpaceKey(tmp_path / "pixels", (), (64, 64), "uint8")
    spaces = FeatureSpaces(key, figures.augmentation, pixels, plain, (), live=False)
    write_json(tmp_path / "plan.json", plan(figures, 0, counts=COUNTS).to_json())
    table = write_table(tmp_path / "manifest.parquet", manifest())
    trained = compute.train(tmp_path, table, spaces, tmp_path / "checkpoints")
    assert trained.trainable_parameters == 1280 * 64 + 64 + 64 + 1
    scores, _ = compute.score(tmp_path, spaces, IMAGES[-N_TEST:])
    head = keras.Sequential(
        [keras.Input((1280,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(1, "sigmoid")]
    )
    with np.load(tmp_path / "trained.npz") as weights:
        head.set_weights([weights[name] for name in weights.files])
    np.testing.assert_allclose(scores, np.ravel(head(features[-N_TEST:])), atol=1e-6)


# ---- bfloat16


def test_measuring_the_pace_tells_seconds_and_changes_no_training(ground, first):
    spaces = ground.spaces(ground.figures)
    pace = measure_pace(spaces.backbone, spaces.plain.dtype, ground.figures)
    assert min(pace.image_s, pace.step_s, pace.score_s) > 0
    assert pace.once_s >= 0
    trained, _ = ground.train("after the pace")
    assert trained.digest == first[0].digest


@needs_bfloat16
def test_features_that_suffer_in_bfloat16_are_refused_with_the_way_out(ground, network):
    key = replace(network, precision="bfloat16")
    spaces = feature_spaces(
        ground.folder / "cache",
        ground.spaces(ground.figures).pixels,
        key,
        compute.describe_features(key),
        ground.figures,
    )
    for _ in range(2):  # it is found once, and refused each time
        with pytest.raises(loaded.PrecisionError) as caught:
            compute.embed(key, spaces.pixels, spaces.plain, IMAGES[:4], None)
    assert "expected: a relative error of at most 0.02" in str(caught.value)
    assert caught.value.fix == '--set precision="float32"'
    assert len(spaces.plain.open()) == 0


@needs_bfloat16
def test_the_first_layers_of_the_network_pass_in_bfloat16_with_their_error_told(ground, network):
    key = replace(network, precision="bfloat16", trainable_layers=125)
    figures = ground.figures.model_copy(update={"trainable_layers": 125})
    pixels = ground.spaces(ground.figures).pixels
    spaces = feature_spaces(ground.folder / "cache", pixels, key, compute.describe_features(key), figures)
    found = compute.embed(key, pixels, spaces.plain, IMAGES[:4], None)
    assert 1e-4 < found.error < 0.02
    assert found.peak_memory_bytes > 10**8
    assert len(spaces.plain.open()) == 4
