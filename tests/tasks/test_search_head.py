"""Trials on cached features: what they read, and that nothing but training rows has a hand in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks import loaded, trials
from tasks.cache import SpaceKey
from tasks.core.backbone import weights_digest
from tasks.core.catalog import load_catalog
from tasks.core.profile import Augmentation, Profile
from tasks.core.search import TooFewToSearch, Trial
from tasks.core.search_space import search_space
from tasks.feature_spaces import BackboneKey, FeatureSpaces
from tasks.store import write_table
from tasks.trials import Search, run_trials
from tests import small_network

N = 160
IMAGES = [f"{n:064x}" for n in range(N)]
GROUPS = [f"patient {n // 2}" for n in range(N)]  # two images of each patient
LABELS = np.repeat(np.random.default_rng(2).integers(0, 2, N // 2), 2)
SPLITS = np.repeat(["train"] * 56 + ["validation"] * 12 + ["test"] * 12, 2)
FIGURES = load_catalog().profile(
    "fast", {"image_side": 64, "alpha": 0.35, "weights": "random", "batch_size": 16, "epochs": 2}
)


@dataclass(frozen=True)
class Ground:
    folder: Path
    backbone: BackboneKey

    def search(
        self,
        *,
        figures: Profile = FIGURES,
        labels: np.ndarray = LABELS,
        rows: np.ndarray | None = None,
        seed: int = 0,
        spaces: FeatureSpaces | None = None,
    ) -> Search:
        """Return a search on made-up features, whose manifest has these labels and, where they are said, rows."""
        table = pa.table(
            {"image": IMAGES, "label": labels.astype(np.int8), "group": GROUPS, "split": SPLITS.tolist()}
        )
        table = table if rows is None else table.take(rows)
        path = self.folder / f"manifest-{len(list(self.folder.glob('*.parquet')))}.parquet"
        manifest = write_table(path, table)
        return Search(
            "pneumonia", manifest, spaces or self.spaces(), figures, search_space(figures, ["epochs"]), seed
        )

    def spaces(self) -> FeatureSpaces:
        key = SpaceKey(self.folder / "features", (("of", "a test"),), (1280,), "float32")
        return FeatureSpaces(self.backbone, Augmentation(), key, key, (), False)


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Ground:
    folder = tmp_path_factory.mktemp("search")
    path = small_network.write_weights(folder / "small.npz")
    made = Ground(folder, BackboneKey("MobileNetV2", 64, 0.35, str(path), weights_digest(path)))
    features = np.random.default_rng(1).normal(size=(N, 1280)).astype(np.float32)
    features[:, :20] += LABELS[:, None] * 0.7
    made.spaces().plain.open().put(IMAGES, features)
    return made


@pytest.fixture(scope="module")
def first(ground) -> list[Trial]:
    return run_trials(ground.search(), (), 8)


def told(done: list[Trial]) -> list[Trial]:
    """Return trials without what the clock says."""
    return [replace(trial, began=0.0, duration_s=0.0) for trial in done]


def flipped(*splits: str) -> np.ndarray:
    return np.where(np.isin(SPLITS, splits), 1 - LABELS, LABELS)


# ---- what a trial is


def test_the_first_trial_is_the_profile_as_it_is_and_is_completed(first):
    own = first[0]
    assert (own.number, own.state, own.folds, own.n) == (0, "completed", 5, 112)
    assert all(getattr(FIGURES, name) == value for name, value in own.figures.items())
    assert own.low < own.auroc < own.high
    assert len(own.steps) == 5
    assert 1 <= own.epoch <= FIGURES.epochs


def test_the_same_search_gives_the_same_trials_however_many_are_asked_for_at_once(ground, first):
    search, done = ground.search(), []
    for count in (1, 2, 5):
        done += run_trials(search, tuple(done), count)
    assert told(done) == told(first)


def test_another_seed_gives_other_trials(ground, first):
    other = run_trials(ground.search(seed=1), (), 2)
    assert other[1].figures != first[1].figures
    assert other[0].figures == first[0].figures
    assert other[0].auroc != first[0].auroc


def test_features_that_do_not_fit_memory_are_read_batch_by_batch_with_the_same_result(
    ground, first, monkeypatch
):
    monkeypatch.setattr(trials, "HELD", 0)
    for one, other in zip(run_trials(ground.search(), (), 3), first, strict=False):
        assert one.figures == other.figures
        assert one.auroc == pytest.approx(other.auroc, abs=0.005)
        assert one.loss is None or one.loss == pytest.approx(other.loss, abs=1e-4)


def test_a_trial_that_diverges_is_said_to_and_stops_nothing(ground):
    wild = FIGURES.model_copy(update={"learning_rate": 1e25})
    done = run_trials(ground.search(figures=wild), (), 2)
    assert [trial.state for trial in done] == ["diverged", "diverged"]
    assert [trial.auroc for trial in done] == [None, None]
    assert done[0].folds == 0


# ---- what it reads


@pytest.mark.parametrize("split", ["test", "validation"])
def test_no_row_of_another_split_has_a_hand_in_a_trial(ground, first, split):
    """Flipped or removed, they change nothing: they are not read."""
    assert told(run_trials(ground.search(labels=flipped(split)), (), 8)) == told(first)
    rest = np.flatnonzero(split != SPLITS)
    assert told(run_trials(ground.search(rows=rest), (), 3)) == told(first[:3])


def test_a_training_label_has_a_hand_in_every_trial(ground, first):
    labels = LABELS.copy()
    labels[:6] = 1 - labels[:6]
    for one, other in zip(run_trials(ground.search(labels=labels), (), 2), first, strict=False):
        assert one.auroc != other.auroc


def test_patients_stay_together(ground):
    known = trials._ground(ground.search())
    for group in np.unique(known.groups):
        assert len(np.unique(known.folds[known.groups == group])) == 1
    assert np.bincount(known.groups).tolist() == [2] * 56


@pytest.mark.parametrize("positive", [0, 1])
def test_one_patient_of_a_class_is_too_few(ground, positive):
    labels = np.where(SPLITS == "train", 0, LABELS)
    labels[: 2 * positive] = 1
    with pytest.raises(
        TooFewToSearch, match=f"{56 - positive} negative and {positive} positive patients, 112 images"
    ):
        run_trials(ground.search(labels=labels), (), 1)


def test_two_patients_of_a_class_are_enough(ground):
    labels = np.where(SPLITS == "train", 0, LABELS)
    labels[:4] = 1
    own = run_trials(ground.search(labels=labels), (), 1)[0]
    assert (own.state, own.folds) == ("completed", 2)


# ---- with a tail


def spaces_of_tail(ground: Ground, key: BackboneKey, shape: tuple[int, ...]) -> FeatureSpaces:
    """Return the spaces of a tail's inputs with two variants: what tells the label lies in another place of each."""
    table = Augmentation(shift=0.1)

    def made(number: int) -> SpaceKey:
        described = (("of", "a tail"), ("variant", number))
        return SpaceKey(ground.folder / "features", described, shape, "float16")

    random = np.random.default_rng(3)
    for number in range(3):
        features = random.normal(size=(N, *shape)).astype(np.float16)
        features[..., number::7] += LABELS.reshape(-1, 1, 1, 1) * 0.7
        made(number).open().put(IMAGES, features)
    return FeatureSpaces(key, table, made(0), made(0), (made(1), made(2)), False)


def test_a_tail_is_trained_anew_in_every_fold_and_on_the_variants_of_the_epochs(ground):
    key = replace(ground.backbone, trainable_layers=small_network.TRAINABLE_LAYERS)
    spaces = spaces_of_tail(ground, key, loaded.backbone(key).shape)
    figures = FIGURES.model_copy(
        update={
            "trainable_layers": key.trainable_layers,
            "augmentation": spaces.augmentation,
            "augmentation_variants": 2,
            "learning_rate": 0.001,
            "steps_per_epoch": 3,
        }
    )
    search = ground.search(figures=figures, spaces=spaces)
    read: list[SpaceKey] = []

    def spied(space: SpaceKey):
        read.append(space)
        return space.open()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaded, "space", spied)
        done = run_trials(search, (), 2)
        again = run_trials(search, (), 1)
    assert {space.digest() for space in read} == {
        space.digest() for space in (spaces.plain, *spaces.variants)
    }
    assert [trial.state for trial in done] == ["completed", "completed"]
    assert told(again) == told(done[:1])
