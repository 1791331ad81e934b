"""Fitting: batches, the best epoch, learning rates, class weights, and going on after a break."""

from __future__ import annotations

import hashlib
from itertools import count

import keras
import numpy as np
import pytest

from tasks.core import backbone, classifier, fitting
from tasks.core.catalog import load_catalog
from tasks.core.fitting import Epoch, State, TrainingDiverged
from tasks.core.profile import Profile
from tests.core.kept import Kept

FAST = load_catalog().profile("fast")
#: Three epochs of three batches.
FIGURES = FAST.model_copy(update={"batch_size": 16, "learning_rate": 0.01, "dense_units": 8})
LABELS = np.tile([0.0, 1.0, 0.0], 24).astype(np.float32)
CHANNELS = 20


def features(shape: tuple[int, ...]) -> np.ndarray:
    """Return (72, *shape) float32 made-up features: one in ten tells a little of the label."""
    drawn = np.random.default_rng(7).normal(size=(72, *shape)).astype(np.float32)
    drawn[..., ::10] += LABELS.reshape(-1, *[1] * len(shape)) * 0.5
    return drawn


INPUTS = features((CHANNELS,))


def rows(inputs: np.ndarray, start: int, end: int) -> fitting.Rows:
    return fitting.Rows(LABELS[start:end], lambda numbers, _: inputs[start:end][numbers])


def fit(
    model: keras.Model,
    inputs: np.ndarray = INPUTS,
    *,
    figures: Profile = FIGURES,
    seed: int = 3,
    kept: Kept | None = None,
    train: fitting.Rows | None = None,
    validation: fitting.Rows | None = None,
) -> list[Epoch]:
    ticks = count()
    return fitting.fit(
        model,
        train or rows(inputs, 0, 48),
        validation or rows(inputs, 48, 72),
        figures=figures,
        seed=seed,
        disease="pneumonia",
        clock=lambda: float(next(ticks)),
        checkpoints=kept or Kept(),
    )


def head(seed: int = 3, channels: int = CHANNELS, figures: Profile = FIGURES) -> keras.Model:
    return classifier.build_head(figures, channels=channels, prevalence=0.3, seed=seed)


def digest(model: keras.Model) -> str:
    return hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()


def epoch(number: int, auroc: float, loss: float = 1.0) -> Epoch:
    return Epoch(number, 1.0, loss, auroc, 3, 48, 1.0)


# ---- batches


def test_an_epoch_takes_no_more_steps_than_the_profile_says_and_no_image_twice():
    figures = FAST.model_copy(update={"steps_per_epoch": 3})
    taken = fitting.batches(1000, figures=figures, seed=0, epoch=1)
    assert [len(batch) for batch in taken] == [64, 64, 64]
    assert len(set(np.concatenate(taken).tolist())) == 192
    assert [len(batch) for batch in fitting.batches(100, figures=FAST, seed=0, epoch=1)] == [64, 36]


def test_each_epoch_and_each_seed_has_its_own_order():
    drawn = [
        np.concatenate(fitting.batches(100, figures=FAST, seed=seed, epoch=number)).tolist()
        for seed, number in ((0, 1), (0, 2), (1, 1), (1, 2))
    ]
    assert len({tuple(order) for order in drawn}) == 4
    assert all(sorted(order) == list(range(100)) for order in drawn)


def test_inputs_are_asked_for_with_the_number_of_the_epoch_and_for_scoring_with_0():
    asked: dict[str, set[int]] = {"train": set(), "validation": set()}

    def told(name: str, start: int, end: int) -> fitting.Rows:
        def read(numbers: np.ndarray, number: int) -> np.ndarray:
            asked[name].add(number)
            return INPUTS[start:end][numbers]

        return fitting.Rows(LABELS[start:end], read)

    fit(head(), train=told("train", 0, 48), validation=told("validation", 48, 72))
    assert asked == {"train": {1, 2, 3}, "validation": {0}}


# ---- the result


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other_order, other_start = head(), head(), head(), head(seed=4)
    for model, seed in ((first, 3), (again, 3), (other_order, 4), (other_start, 3)):
        fit(model, seed=seed)
    assert digest(first) == digest(again)
    assert len({digest(first), digest(other_order), digest(other_start)}) == 3


def test_the_weights_of_the_best_epoch_are_kept():
    figures = FIGURES.model_copy(update={"epochs": 6, "learning_rate": 0.1})
    model = head()
    history = fit(model, figures=figures)
    best = fitting.best_epoch(history)
    assert best.number < 6  # so that the last epoch's weights are other ones
    assert best.validation_auroc == max(one.validation_auroc for one in history)
    scores = fitting.predict(model, rows(INPUTS, 48, 72), batch_size=16)
    assert fitting.cross_entropy(LABELS[48:], scores) == pytest.approx(best.validation_loss, abs=1e-6)
    assert best.validation_loss != pytest.approx(history[-1].validation_loss, abs=1e-3)


def test_of_epochs_with_equal_auroc_the_one_with_the_lowest_loss_is_best_and_then_the_earliest():
    history = [epoch(1, 0.7, 0.5), epoch(2, 0.8, 0.6), epoch(3, 0.8, 0.4), epoch(4, 0.8, 0.4)]
    assert fitting.best_epoch(history).number == 3


def test_an_epoch_whose_auroc_is_undefined_is_no_better_than_one_that_has_one():
    assert fitting.best_epoch([epoch(1, np.nan, 0.1), epoch(2, 0.4, 0.9)]).number == 2
    assert fitting.best_epoch([epoch(1, np.nan, 0.2), epoch(2, np.nan, 0.1)]).number == 2


def test_an_epoch_survives_json_with_an_undefined_auroc_too():
    for one in (epoch(1, 0.7), epoch(2, np.nan)):
        assert str(Epoch.from_json(one.to_json())) == str(one)


@pytest.mark.parametrize(
    ("aurocs", "patience", "trained"),
    [
        ([0.7, 0.6, 0.6, 0.6, 0.6], 2, 3),
        ([0.7, 0.6, 0.8, 0.7, 0.7], 2, 5),
        ([0.7, 0.8, 0.6, 0.6, 0.6], 1, 3),
        ([0.7, 0.6, 0.6, 0.6, 0.6], 0, 5),
    ],
)
def test_training_ends_after_as_many_epochs_without_a_better_one_as_its_patience(aurocs, patience, trained):
    """Checkpoints of a training that went as told: what it does next follows from them."""
    figures = FIGURES.model_copy(update={"epochs": 5, "patience": patience})
    model, kept = head(), Kept()
    fit(model, figures=FIGURES.model_copy(update={"epochs": 1}), kept=kept)
    went_on = []
    for number in range(1, 6):
        history = [epoch(n, auroc) for n, auroc in enumerate(aurocs[:number], start=1)]
        later = Kept(State(history, kept.states[0].variables, kept.states[0].best))
        fit(model, figures=figures, kept=later)
        went_on.append(bool(later.states))
    assert went_on == [number < trained for number in range(1, 6)]


def test_no_more_validation_batches_are_scored_than_the_profile_says():
    figures = FIGURES.model_copy(update={"validation_steps": 1, "epochs": 1})
    model = head()
    [one] = fit(model, figures=figures)
    scores = fitting.predict(model, rows(INPUTS, 48, 64), batch_size=16)
    assert one.validation_loss == pytest.approx(fitting.cross_entropy(LABELS[48:64], scores), abs=1e-6)


def test_scores_stand_in_the_order_of_the_rows_whatever_the_size_of_a_batch():
    model = head()
    by_7, at_once = (fitting.predict(model, rows(INPUTS, 0, 48), batch_size=size) for size in (7, 48))
    np.testing.assert_allclose(by_7, at_once, atol=1e-6)
    np.testing.assert_allclose(at_once, np.ravel(model(INPUTS[:48])), atol=1e-6)


# ---- learning rates


def test_the_cosine_schedule_falls_from_the_learning_rate_towards_0():
    cosine = {"epochs": 4, "learning_rate_schedule": "cosine", "learning_rate": 0.02}
    rates = [fitting.learning_rate(FIGURES.model_copy(update=cosine), number) for number in (1, 2, 3, 4)]
    half = np.sqrt(0.5)
    assert rates == pytest.approx([0.02, 0.01 * (1 + half), 0.01, 0.01 * (1 - half)])
    constant = FIGURES.model_copy(update={"learning_rate": 0.02})
    assert [fitting.learning_rate(constant, number) for number in (1, 2, 3)] == [0.02] * 3


def test_the_optimizer_takes_the_rate_of_the_epoch():
    figures = FIGURES.model_copy(update={"epochs": 3, "learning_rate_schedule": "cosine"})
    model, rates = head(), []

    class Noted(Kept):
        def save(self, state: State) -> None:
            rates.append(float(model.optimizer.learning_rate.numpy()))

    fit(model, figures=figures, kept=Noted())
    assert rates == pytest.approx([fitting.learning_rate(figures, number) for number in (1, 2, 3)])
    assert len(set(rates)) == 3


# ---- class weights


def test_balanced_weights_make_both_classes_count_the_same_and_a_mean_of_1():
    labels = np.array([1, 0, 0, 0, 0], np.float32)
    weights = fitting.class_weights(labels)
    np.testing.assert_allclose(weights, [5 / 8, 5 / 2])
    assert weights[labels.astype(int)].mean() == pytest.approx(1)


def test_balanced_training_is_what_keras_does_with_class_weight():
    figures = FIGURES.model_copy(update={"class_weights": "balanced", "epochs": 1})
    ours, theirs, unweighted = (head() for _ in range(3))
    fit(ours, figures=figures)
    fit(unweighted, figures=figures.model_copy(update={"class_weights": "none"}))
    theirs.compile(keras.optimizers.Adam(figures.learning_rate), "binary_crossentropy")
    order = np.concatenate(fitting.batches(48, figures=figures, seed=3, epoch=1))
    positive = float(LABELS[:48].mean())
    theirs.fit(
        INPUTS[order],
        LABELS[order],
        batch_size=16,
        shuffle=False,
        class_weight={0: 0.5 / (1 - positive), 1: 0.5 / positive},
        verbose=0,
    )
    for one, other, without in zip(
        ours.get_weights(), theirs.get_weights(), unweighted.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
        assert np.abs(one - without).max() > 1e-3


# ---- a break


def small_tail() -> tuple[keras.Model, np.ndarray]:
    """Return a model of a tail of three layers, batch norm among them, and a head; and features for it."""
    built = backbone.build("MobileNetV2", side=32, alpha=0.35, weights=None, trainable_layers=3)
    return classifier.attach(built.tail, head(channels=1280)), features(built.shape)


def same_but_for_the_time(history: list[Epoch], others: list[Epoch]) -> bool:
    return [{**one.to_json(), "duration_s": 0} for one in history] == [
        {**one.to_json(), "duration_s": 0} for one in others
    ]


def test_a_head_with_dropout_goes_on_after_any_epoch_as_if_there_had_been_no_break():
    figures = FIGURES.model_copy(update={"epochs": 4, "dropout": 0.5, "learning_rate_schedule": "cosine"})
    whole, kept = head(figures=figures), Kept()
    history = fit(whole, figures=figures, kept=kept)
    assert [len(state.history) for state in kept.states] == [1, 2, 3, 4]
    for state in kept.states:
        resumed, later = head(figures=figures), Kept(state)
        found = fit(resumed, figures=figures, kept=later)
        assert digest(resumed) == digest(whole)
        assert same_but_for_the_time(found, history)
        assert len(later.states) == 4 - len(state.history)


def test_a_tail_goes_on_after_an_epoch_as_if_there_had_been_no_break():
    figures = FIGURES.model_copy(update={"dropout": 0.5})
    whole, inputs = small_tail()
    beginning, kept = whole.get_weights(), Kept()
    history = fit(whole, inputs, figures=figures, kept=kept)
    assert not np.array_equal(whole.get_weights()[0], beginning[0])
    resumed, _ = small_tail()
    found = fit(resumed, inputs, figures=figures, kept=Kept(kept.states[0]))
    assert digest(resumed) == digest(whole)
    assert same_but_for_the_time(found, history)


def test_a_used_model_goes_on_from_a_checkpoint_like_a_fresh_one():
    whole, kept = head(), Kept()
    fit(whole, kept=kept)
    expected = digest(whole)
    fit(whole, seed=9)
    assert digest(whole) != expected
    fit(whole, kept=Kept(kept.states[0]))
    assert digest(whole) == expected


def test_a_training_that_was_finished_is_not_trained_on():
    model, kept = head(), Kept()
    fit(model, kept=kept)
    expected, again = digest(model), Kept(kept.states[-1])
    assert same_but_for_the_time(fit(head(), kept=again), kept.states[-1].history)
    fit(model, kept=again)
    assert (digest(model), again.states) == (expected, [])


# ---- a loss that is no number


@pytest.mark.parametrize("batch_size", [16, 48])
def test_a_learning_rate_that_is_far_too_high_stops_training_and_says_where(batch_size):
    """After one batch, loss and weights are still numbers: what they lead to is not."""
    figures = FIGURES.model_copy(update={"learning_rate": 1e25, "batch_size": batch_size, "epochs": 1})
    kept = Kept()
    with pytest.raises(TrainingDiverged) as caught:
        fit(head(), figures=figures, kept=kept)
    said = str(caught.value)
    step = 1 if batch_size == 48 else 2
    assert said.startswith(
        f"Training diverged: by epoch 1, step {step}, a loss, weight or score is not finite."
    )
    assert "where:    pneumonia; no epoch was completed" in said
    assert "at a learning rate of 1e+25" in said
    assert caught.value.fix == "lower the learning rate: --set learning_rate=1e+24"
    assert kept.states == []


def test_the_checkpoints_before_a_loss_that_is_no_number_stay():
    bad = fitting.batches(48, figures=FIGURES, seed=3, epoch=2)[1][4]

    def read(numbers: np.ndarray, number: int) -> np.ndarray:
        found = INPUTS[:48][numbers]
        return np.where((numbers == bad)[:, None], np.nan, found) if number == 2 else found

    kept = Kept()
    with pytest.raises(TrainingDiverged, match="by epoch 2, step 2, a loss, weight or score") as caught:
        fit(head(), kept=kept, train=fitting.Rows(LABELS[:48], read))
    assert "pneumonia; the checkpoint of epoch 1 is kept" in str(caught.value)
    assert [len(state.history) for state in kept.states] == [1]
    assert all(np.isfinite(value).all() for value in kept.states[0].variables)
