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
from tasks.core.quick_model import HeldRows, QuickModel, fresh_head
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
        held: all of them in memory; None where they do not fit, or where each epoch has its own.
        moved: reads features to train on.
        plain: reads features to score.
    """

    labels: Labels
    groups: Labels
    folds: Labels
    held: HeldRows | None
    moved: Inputs
    plain: Inputs


@functools.lru_cache(maxsize=1)
def _ground(search: Search) -> _Ground:
    import tensorflow as tf

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
    moved = training_inputs(spaces, rows.images, search.figures, search.seed)
    plain, held = plain_inputs(spaces.plain, rows.images), None
    if not spaces.variants and count * spaces.plain.row_bytes() <= HELD:
        held = HeldRows(tf.constant(plain(np.arange(count), 0)), rows.labels)
    return _Ground(labels, groups, folds, held, moved, plain)


def _run(
    search: Search, ground: _Ground, chosen: Mapping[str, Figure], number: int, is_hopeless: Watch
) -> Trial:
    """Train with these figures on each fold in turn."""
    began, clock = time.time(), time.perf_counter()
    figures = search.figures.model_copy(update=dict(chosen))
    told = FoldScores(
        ground.labels, ground.groups, ground.folds, epochs=figures.epochs, is_hopeless=is_hopeless
    )
    chosen_on = figures.validation_steps * figures.batch_size
    state: Literal["completed", "pruned", "diverged"] = "completed"
    auroc, low, high, loss = None, None, None, None
    try:
        for _ in np.unique(ground.folds):
            scores = _train(search, ground, figures, told.held_out())
            told.add_fold(scores, patience=figures.patience, chosen_on=chosen_on)
        auroc, low, high, loss = told.completed()
    except Hopeless:
        state, auroc = "pruned", told.steps[-1]
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
        folds=len(told.steps),
        epoch=told.epoch(),
        steps=tuple(told.steps),
        began=began,
        duration_s=time.perf_counter() - clock,
    )


def _train(search: Search, ground: _Ground, figures: Profile, out: np.ndarray) -> np.ndarray:
    """Train on all rows but those held out, just as a profile with these figures is; return scores after each epoch.

    Raises:
        TrainingDiverged: a loss, a weight or a score is no number any more.
    """
    inner = np.setdiff1d(np.arange(ground.labels.size), out)
    trainee, quick = _model(search.spaces.backbone, search.figures, figures.dense_units)
    prevalence = 0.5 if figures.class_weights == "balanced" else float(ground.labels[inner].mean())
    channels = trainee.head.input_shape[-1]
    fresh = _fresh(search.figures, figures.dense_units, channels, prevalence, search.seed)
    quick.restart(figures, [*trainee.tail, *fresh])
    if ground.held is None:
        return _fit(search, ground, figures, quick, inner, out)
    scores = quick.train(ground.held, inner, out, figures=figures, seed=search.seed)
    if not np.isfinite(scores).all():
        epoch = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0]) + 1
        raise TrainingDiverged(search.disease, epoch=epoch, step=1, loss=np.nan, figures=figures)
    return scores


def _fit(
    search: Search,
    ground: _Ground,
    figures: Profile,
    quick: QuickModel,
    inner: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:
    """Train on features that are read batch by batch."""
    labels = ground.labels.astype(np.float32)
    rest = fitting.Rows(labels[out], lambda numbers, epoch: ground.plain(out[numbers], epoch))
    # Any: fit asks no more of a model than a quick one has.
    model: Any = quick
    scoring = _Scoring(model, rest, [])
    fitting.fit(
        model,
        fitting.Rows(labels[inner], lambda numbers, epoch: ground.moved(inner[numbers], epoch)),
        rest,
        figures=figures,
        seed=search.seed,
        disease=search.disease,
        clock=time.perf_counter,
        checkpoints=scoring,
    )
    return np.stack(scoring.scores)


@dataclass(frozen=True, slots=True, eq=False)
class _Scoring:
    """Scores the held-out rows after each epoch; stands in for checkpoints, of which a trial needs none."""

    model: Any
    rest: fitting.Rows
    scores: list[np.ndarray]

    def load(self) -> State:
        """Return a new state."""
        return State()

    def save(self, state: State) -> None:  # noqa: ARG002
        """Score."""
        self.scores.append(fitting.predict(self.model, self.rest, batch_size=_SCORED))


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
