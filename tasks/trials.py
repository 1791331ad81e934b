"""What the worker is asked in a search: train with other figures, again and again, on folds of the training rows.

In: the search, and the trials so far. Out: further trials. The same search and seed give the same trials, however
many are asked for at once. Validation and test rows are not read.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tasks import loaded
from tasks.core import fitting
from tasks.core.curves import Labels
from tasks.core.fitting import Inputs, State, TrainingDiverged
from tasks.core.fold_scores import FoldScores, Hopeless, Watch
from tasks.core.profile import Augmentation, Profile
from tasks.core.quick_model import QuickModel, fresh_head, whole_epochs
from tasks.core.resampling import patient_index
from tasks.core.sampling import Sampler
from tasks.core.search import TooFewToSearch, Trial
from tasks.core.search_space import Choice, Figure, own_figures
from tasks.core.shortcuts import deal_folds
from tasks.feature_spaces import BackboneKey, FeatureSpaces
from tasks.inputs import plain_inputs, training_inputs
from tasks.store import read_rows

#: Features are held in memory up to this size, bytes; beyond it each batch is read from the cache.
HELD = 2**29
#: Rows that are scored at once.
_SCORED = 256
#: Figures of which a traced step knows nothing, as they are while a model is kept.
_SAME: dict[str, Any] = {
    "dropout": 0.0,
    "learning_rate": 1.0,
    "learning_rate_schedule": "constant",
    "class_weights": "none",
    "augmentation": Augmentation(),
}


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched, and on what.

    Attributes:
        disease: key of the catalog.
        manifest: of it.
        spaces: where the features are cached.
        figures: of the profile, as they are for this disease.
        space: the figures that are searched.
        seed: of folds, samples, initial weights, batches and dropout.
    """

    disease: str
    manifest: Path
    spaces: FeatureSpaces
    figures: Profile
    space: tuple[Choice, ...]
    seed: int


def load_ahead() -> None:
    """Import Optuna (1 s) before it is asked for."""
    import optuna  # noqa: F401


def run_trials(search: Search, told: Sequence[Trial], count: int) -> list[Trial]:
    """Run further trials; the first of all is the profile as it is.

    Args:
        search: what is searched.
        told: all trials so far, in their order.
        count: how many more.

    Raises:
        TooFewToSearch: the training rows cannot be divided into folds that hold both classes.
    """
    ground = _ground(search)
    sampler = Sampler(search.space, seed=search.seed, told=told)
    trials: list[Trial] = []
    for number in range(len(told), len(told) + count):
        if number == 0:
            own = own_figures(search.figures, search.space)
            trials.append(_run(search, ground, own, number, _never))
            sampler.add(trials[0])
        else:
            asked = sampler.ask(number)
            trials.append(_run(search, ground, asked.figures, number, asked.is_hopeless))
            sampler.tell(asked, trials[-1])
    return trials


@dataclass(frozen=True, slots=True, eq=False)
class _Ground:
    """The training rows of a search.

    Attributes:
        labels: (n,) 0 or 1.
        groups: (n,) 0 ... g - 1.
        folds: (n,) fold of each.
        moved: reads features to train on.
        plain: reads features to score.
        is_held: whether they are in memory.
    """

    labels: Labels
    groups: Labels
    folds: Labels
    moved: Inputs
    plain: Inputs
    is_held: bool


@functools.lru_cache(maxsize=1)
def _ground(search: Search) -> _Ground:
    spaces = search.spaces
    for space in {spaces.plain, *spaces.variants}:
        loaded.space(space).refresh()
    rows = read_rows(search.manifest, "train")
    count = len(rows.images)
    groups, labels = patient_index(rows.groups, count), rows.labels.astype(np.int64)
    if min(np.unique(groups[labels == label]).size for label in (0, 1)) < 2:
        raise TooFewToSearch(search.disease, labels=labels, groups=groups)
    folds = deal_folds(labels, groups, seed=search.seed)
    parts = [part for fold in np.unique(folds) for part in (folds == fold, folds != fold)]
    if any(np.unique(labels[part]).size < 2 for part in parts):
        raise TooFewToSearch(search.disease, labels=labels, groups=groups)
    plain = plain_inputs(spaces.plain, rows.images)
    if spaces.variants or count * spaces.plain.row_bytes() > HELD:
        moved = training_inputs(spaces, rows.images, search.figures, search.seed)
        return _Ground(labels, groups, folds, moved, plain, is_held=False)
    features = plain(np.arange(count), 0)

    def held(numbers: np.ndarray, _: int) -> np.ndarray:
        return features[numbers]

    return _Ground(labels, groups, folds, held, held, is_held=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Scoring:
    """Scores the held-out rows after each epoch; stands in for checkpoints, of which a trial needs none."""

    told: FoldScores
    model: Any
    rest: fitting.Rows

    def load(self) -> State:
        """Return a new state."""
        return State()

    def save(self, state: State) -> None:
        """Score.

        Raises:
            Hopeless: the trial is to be given up.
        """
        scores = fitting.predict(self.model, self.rest, batch_size=_SCORED)
        self.told.add_epoch(len(state.history), scores)


def _run(
    search: Search, ground: _Ground, chosen: Mapping[str, Figure], number: int, is_hopeless: Watch
) -> Trial:
    """Train with these figures on each fold in turn."""
    began, clock = time.time(), time.perf_counter()
    figures = search.figures.model_copy(update=dict(chosen))
    told = FoldScores(
        ground.labels, ground.groups, ground.folds, epochs=figures.epochs, is_hopeless=is_hopeless
    )
    state: Literal["completed", "pruned", "diverged"] = "completed"
    auroc, low, high, loss = None, None, None, None
    try:
        for _ in np.unique(ground.folds):
            history = _fit(search, ground, figures, told)
            told.end_fold(len(history), fitting.best_epoch(history).number)
        auroc, low, high, loss = told.completed()
    except Hopeless:
        state, auroc = "pruned", told.so_far()
    except TrainingDiverged:
        state = "diverged"
    return Trial(
        number=number,
        figures=dict(chosen),
        state=state,
        auroc=auroc,
        low=low,
        high=high,
        loss=loss,
        n=told.count(),
        folds=told.ended,
        epoch=told.epoch(),
        steps=tuple(told.steps),
        began=began,
        duration_s=time.perf_counter() - clock,
    )


def _fit(search: Search, ground: _Ground, figures: Profile, told: FoldScores) -> list[fitting.Epoch]:
    """Train on all rows but those held out, just as a profile with these figures is."""
    out = told.held_out()
    inner = np.setdiff1d(np.arange(ground.labels.size), out)
    labels = ground.labels.astype(np.float32)
    train = fitting.Rows(labels[inner], lambda numbers, epoch: ground.moved(inner[numbers], epoch))
    rest = fitting.Rows(labels[out], lambda numbers, epoch: ground.plain(out[numbers], epoch))
    trainee, quick = _model(search.spaces.backbone, search.figures, figures.dense_units)
    prevalence = 0.5 if figures.class_weights == "balanced" else float(train.labels.mean())
    channels = trainee.head.input_shape[-1]
    fresh = _fresh(search.figures, figures.dense_units, channels, prevalence, search.seed)
    quick.restart(figures, [*trainee.tail, *fresh])
    # Any: fit asks no more of a model than a quick one has.
    model: Any = quick
    return fitting.fit(
        model,
        train,
        fitting.Rows(rest.labels[: figures.validation_steps * figures.batch_size], rest.inputs),
        figures=whole_epochs(figures, len(inner)) if ground.is_held else figures,
        seed=search.seed,
        disease=search.disease,
        clock=time.perf_counter,
        checkpoints=_Scoring(told, model, rest),
    )


def _model(key: BackboneKey, figures: Profile, units: int) -> tuple[loaded.Trainee, QuickModel]:
    same = figures.model_copy(update={"dense_units": units, **_SAME})
    return _kept_model(key, same)  # pyright: ignore[reportArgumentType] - frozen models hash


@functools.lru_cache(maxsize=8)
def _kept_model(key: BackboneKey, figures: Profile) -> tuple[loaded.Trainee, QuickModel]:
    trainee = loaded.trainee(key, figures)
    channels = trainee.head.input_shape[-1]
    return trainee, QuickModel(figures, tail=trainee.backbone.tail, channels=channels)


def _fresh(figures: Profile, units: int, channels: int, prevalence: float, seed: int) -> list[np.ndarray]:
    same = figures.model_copy(update={"dense_units": units, **_SAME})
    return _kept_fresh(same, channels, prevalence, seed)  # pyright: ignore[reportArgumentType]


@functools.lru_cache(maxsize=64)
def _kept_fresh(figures: Profile, channels: int, prevalence: float, seed: int) -> list[np.ndarray]:
    """Return what each trial of a fold begins with: to build a head takes longer than an epoch on 1,000 images."""
    return fresh_head(figures, channels=channels, prevalence=prevalence, seed=seed)


def _never(auroc: float, step: int) -> bool:  # noqa: ARG001
    return False
