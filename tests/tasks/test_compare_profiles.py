"""The comparison of runs that are there: real models of two architectures, a real worker, a real MLflow database."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tasks.compare_models import explain_images, put_weights, time_models
from tasks.compare_profiles import Compared, compare_profiles
from tasks.core import backbone, classifier
from tasks.core.comparison import DiseaseComparison
from tasks.core.errors import ComparisonRefused
from tasks.core.mistakes import THUMBNAIL_SIDE, Mistake
from tasks.core.phantoms import draw
from tasks.core.pixels import shrink
from tasks.core.profile import Profile
from tasks.find_runs import find_runs
from tasks.model_folder import load_model, save_model
from tasks.plan_check import pixel_space
from tasks.store import write_table
from tests.compared_runs import FIGURES, Home, TestRows, rows
from tests.small_network import ALPHA, NAME, TRAINABLE_LAYERS, write_weights

FAST = FIGURES
INTENSIVE = FIGURES.model_copy(update={"image_side": 96, "trainable_layers": TRAINABLE_LAYERS})


@dataclass(frozen=True)
class Model:
    """A saved model, and two trainings of what is trained of it."""

    folder: Path
    trained: tuple[list[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Ground:
    home: Home
    models: dict[str, Model]


def make(folder: Path, figures, weights: Path) -> Model:
    built = backbone.build(
        NAME, side=figures.image_side, alpha=ALPHA, weights=weights, trainable_layers=figures.trainable_layers
    )
    channels = built.shape[0] if built.tail is None else built.tail.output_shape[-1]
    head = classifier.build_head(figures, channels=channels, prevalence=0.5, seed=3)
    save_model(classifier.assemble(built, head, name="model"), folder, metadata={})
    values = classifier.attach(built.tail, head).get_weights()
    return Model(folder, (values, [value * 0.9 for value in values]))


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Ground:
    folder = tmp_path_factory.mktemp("compared")
    weights = write_weights(folder / "weights.npz")
    profiles = {"fast": FAST, "intensive": INTENSIVE}
    models = {key: make(folder / key, figures, weights) for key, figures in profiles.items()}
    return Ground(Home.make(folder / "home", data=folder / "data"), models)


def draw_rows(root: Path, kind: str, count: int = 12) -> TestRows:
    """Phantoms as files below a data root; half of them positive."""
    images, labels = [], np.arange(count, dtype=np.float32) % 2
    (root / kind).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        data = io.BytesIO()
        Image.fromarray(draw(kind, patient=number, view=0, side=96).pixels).save(data, "PNG")
        images.append(hashlib.sha256(data.getvalue()).hexdigest())
        (root / kind / f"{number}.png").write_bytes(data.getvalue())
    return TestRows(images, [f"patient {number}" for number in range(count)], labels)


def write_manifest(home: Home, kind: str, test: TestRows) -> None:
    paths = [f"{kind}/{number}.png" for number in range(len(test.images))]
    table = pa.table({"image": test.images, "path": paths, "split": ["test"] * len(paths)})
    write_table(home.path / "manifests" / f"{home.disease}-0.parquet", table)


def cache_pixels(home: Home, folder: Path, test: TestRows) -> None:
    for figures in (FAST, INTENSIVE):
        squares = [
            shrink(np.asarray(Image.open(folder / f"{number}.png")), figures.image_side)
            for number in range(len(test.images))
        ]
        pixel_space(home.path, figures).open().put(test.images, np.stack(squares))


def train(ground: Ground, home: Home, test: TestRows, *, fast: Profile = FAST, **words) -> None:
    """Runs of both profiles; the third image is the worst mistake of the first, the fourth of the second."""
    for number, (profile, figures) in enumerate((("fast", fast), ("intensive", INTENSIVE))):
        scores = np.where(test.labels == 1, 0.8, 0.2).astype(np.float32)
        scores[2 + number] = 1 - test.labels[2 + number]
        model = ground.models[profile]
        home.complete(
            profile,
            figures=figures,
            test=test,
            scores=scores,
            model=model.folder,
            trained=model.trained[1],
            **words,
        )


@dataclass(frozen=True)
class Case:
    """What a comparison said of one disease, and the rows that it was about."""

    test: TestRows
    one: DiseaseComparison
    mistakes: tuple[Mistake, ...]


@pytest.fixture(scope="module")
def compared(ground, worker) -> tuple[dict[str, Case], Compared]:
    """One comparison of five diseases, for models are loaded and timed once for all of them."""
    names = ("cached", "lost", "negative", "refused", "odd")
    homes = {name: ground.home.for_another_disease() for name in names}
    root = ground.home.settings.data
    tests = dict.fromkeys(names, rows(30, positives=0))
    tests |= {"cached": draw_rows(root, "pneumonia"), "lost": draw_rows(root, "cardiomegaly"), "odd": rows()}
    cache_pixels(homes["cached"], root / "pneumonia", tests["cached"])
    write_manifest(homes["lost"], "cardiomegaly", tests["lost"])
    train(ground, homes["cached"], tests["cached"], computed=40)
    train(ground, homes["lost"], tests["lost"])
    train(ground, homes["negative"], tests["negative"])
    homes["refused"].complete("fast")
    odd = FAST.model_copy(update={"precision": "bfloat16", "teacher": "intensive"})
    homes["odd"].complete("fast", seed=1, figures=odd, test=tests["odd"])
    train(ground, homes["odd"], tests["odd"], fast=odd)
    (root / "cardiomegaly" / "2.png").write_bytes(b"another file")
    home = homes["cached"]
    matches = find_runs.fn(home.settings, "fast", "intensive", [homes[name].disease for name in names])
    done = compare_profiles.fn(worker, home.tracker, home.settings, ("fast", "intensive"), matches)
    cases = {
        name: Case(tests[name], one, done.mistakes.get(one.disease, ()))
        for name, one in zip(names, done.comparison.diseases, strict=True)
    }
    return cases, done


@pytest.fixture
def cached(compared) -> Case:
    return compared[0]["cached"]


def test_every_price_is_measured(cached):
    for cost in (side.cost for side in cached.one.sides):
        assert all(value is not None for value in cost.to_json().values())
        assert 10 <= cost.latency_repeats <= 50
        assert 0 < cost.latency_s < 5
        assert cost.images_per_s > 0
        assert cost.file_bytes > 1_000_000
        assert cost.features_s == pytest.approx(0.5 * (100 + 20 + 12))


def test_figures_are_those_of_the_scores_that_evaluation_wrote(cached, compared):
    one = cached.one
    assert one.paired.n == 12
    assert one.n_positive == 6
    assert one.sides[0].aurocs == one.sides[1].aurocs == (pytest.approx(5 / 6),)
    assert (one.mcnemar.only_first, one.mcnemar.only_second) == (1, 1)
    assert one.shortcuts[0].probe == "thumbnail"
    assert len(set(compared[1].run_ids)) == 4 * 2 + 1


def test_mistakes_have_the_image_and_what_each_answer_rests_on(cached):
    images, shown = cached.test.images, cached.mistakes
    assert [mistake.image for mistake in shown] == [images[2][:12], images[3][:12]]
    assert [mistake.wrong for mistake in shown] == [(True, False), (False, True)]
    assert [mistake.label for mistake in shown] == [0, 1]
    assert shown[0].scores == (pytest.approx(1), pytest.approx(0.2))
    for mistake in shown:
        pictures = [mistake.thumbnail, *mistake.heat]
        assert [Image.open(io.BytesIO(png)).size for png in pictures] == [(THUMBNAIL_SIDE,) * 2] * 3
        assert len(set(pictures)) == 3
    assert not any("cannot be shown" in warning for warning in cached.one.warnings)


def test_pixels_that_the_cache_lost_are_decoded_again_but_not_from_a_file_that_changed(compared):
    lost = compared[0]["lost"]
    assert [mistake.image for mistake in lost.mistakes] == [image[:12] for image in lost.test.images[2:4]]
    changed, whole = lost.mistakes
    assert (changed.thumbnail, changed.heat) == (None, (None, None))
    assert None not in (whole.thumbnail, *whole.heat)
    said = [warning for warning in lost.one.warnings if "cannot be shown" in warning]
    assert said == [
        "1 of the 2 images of mistakes cannot be shown: they are neither in the cache nor, unchanged, below the data root."
    ]


def test_no_picture_and_no_path_is_in_what_may_leave_the_machine(compared, ground):
    said = str(compared[1].comparison.to_json())
    assert str(ground.home.path) not in said
    assert "patient " not in said
    assert ".png" not in said


def test_what_the_seconds_of_a_profile_leave_out_is_said(compared):
    one = compared[0]["odd"].one
    assert one.sides[0].cost.features_s is None
    assert one.sides[1].cost.features_s is not None
    unknown, teacher = one.warnings[:2]
    assert unknown.startswith("What extracting the features of fast took is not known")
    assert teacher == "The seconds of fast are its own: those of its teacher intensive come on top."


def test_seeds_of_a_profile_are_taken_together(compared):
    first, second = compared[0]["odd"].one.sides
    assert (first.seeds, second.seeds) == ((0, 1), (0,))
    assert first.auroc == pytest.approx(sum(first.aurocs) / 2)
    assert first.deviation > 0
    assert second.deviation is None
    assert (first.cost.training_s, second.cost.training_s) == (3.0, 3.0)  # the lower of 3 and 4 s


def test_one_class_only_in_the_test_rows_is_said_and_costs_are_given_all_the_same(compared):
    one = compared[0]["negative"].one
    assert one.decision == "undefined"
    assert "all 30 test images are negative" in one.verdict
    assert one.sides[0].cost.latency_s > 0


def test_a_disease_that_cannot_be_compared_stands_beside_the_others_with_its_reason(compared):
    refused = compared[0]["refused"]
    assert refused.one.verdict.startswith("not compared: intensive was never trained on it")
    assert (refused.one.sides, refused.mistakes) == ((), ())


@pytest.mark.parametrize("profile", ["fast", "intensive"])
def test_the_model_that_is_explained_is_the_one_that_was_trained(ground, tmp_path, profile):
    model = ground.models[profile]
    np.savez(tmp_path / "trained.npz", *model.trained[1])
    whole = load_model(model.folder)
    side = whole.input_shape[1]
    squares = np.random.default_rng(0).integers(0, 256, (2, side, side)).astype(np.uint8)
    pixels = np.repeat(squares[..., None], 3, axis=-1).astype(np.float32)
    before = np.ravel(whole(pixels, training=False))
    put_weights(whole, tmp_path / "trained.npz")
    after = np.ravel(whole(pixels, training=False))
    assert np.abs(after - before).max() > 1e-4
    for found, wanted in zip(whole.weights[::-1], model.trained[1][::-1], strict=False):
        np.testing.assert_array_equal(found.numpy(), wanted)
    scores, maps = explain_images(model.folder, tmp_path / "trained.npz", squares, np.ones(2))
    np.testing.assert_allclose(scores, after, atol=1e-5)
    assert maps.shape == (2, side // 32, side // 32)


def test_weights_of_another_architecture_are_refused(ground, tmp_path):
    np.savez(tmp_path / "trained.npz", *(value[..., :1] for value in ground.models["fast"].trained[0]))
    with pytest.raises(ValueError, match="Expected weights of model's last 4 variables"):
        put_weights(load_model(ground.models["fast"].folder), tmp_path / "trained.npz")


def test_a_model_that_cannot_be_loaded_is_named(ground, worker, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ComparisonRefused, match="The model of a run cannot be loaded"):
        worker.ask(time_models, [tmp_path / "model"])
