"""A model that a search trains hundreds of times: its step is traced once, and a training is one call.

In: a profile. Out: a model, each step of which is the very step of Keras. To trace a step takes as long as ten trainings
of a head on 1,000 images, and to leave the graph after each of its steps makes them twice as long (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.core import classifier, fitting
from tasks.core.profile import Profile

if TYPE_CHECKING:
    import keras

#: The head is built with it, whatever it is then set to: without any, Keras leaves out the state of dropout.
_SOME_DROPOUT = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class HeldRows:
    """Rows in memory.

    Attributes:
        features: (n, channels) float32, an array or a tensor.
        labels: (n,) float32, 0 or 1.
    """

    features: Any
    labels: np.ndarray


class QuickModel:
    """A model for figures of the same `dense_units` and `batch_size`.

    `train` trains it on rows in memory. Where rows do not fit there, `fitting.fit` takes it for a Keras model.

    Attributes:
        compiled: it is.
        optimizer: of the model.
        variables: weights and the states of dropout.
        trainable_variables: of them.
    """

    compiled = True

    def __init__(self, figures: Profile, *, tail: keras.Model | None, channels: int) -> None:
        """Build it.

        Args:
            figures: of the profile.
            tail: that is trained with the head; None where there is none.
            channels: of the pooled features.
        """
        import tensorflow as tf

        self._dropout: Any = tf.Variable(tf.constant(_SOME_DROPOUT), trainable=False)
        head = _with_variable_dropout(_head(figures, channels=channels), self._dropout)
        model = classifier.attach(tail, head)
        fitting.compile_for(model, figures)
        self._model = model
        self.optimizer = model.optimizer
        self.variables = model.variables
        self.trainable_variables = model.trainable_variables
        inputs = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        column, numbers = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((None,), tf.int32)
        order = tf.TensorSpec((None, None), tf.int32)
        size = figures.batch_size

        def step(rows: Any, targets: Any, weights: Any) -> Any:
            for metric in model.metrics:
                metric.reset_state()
            return model.train_step((rows, targets, weights))["loss"]

        def score(rows: Any) -> Any:
            return model(rows, training=False)

        def train(rows: Any, targets: Any, weights: Any, orders: Any, rates: Any, held_out: Any) -> Any:
            scores = tf.TensorArray(tf.float32, tf.shape(rates)[0])
            rest = tf.gather(rows, held_out)
            for epoch in tf.range(tf.shape(rates)[0]):
                model.optimizer.learning_rate.assign(rates[epoch])
                for start in tf.range(0, tf.shape(orders)[1], size):
                    batch = orders[epoch, start : start + size]
                    model.train_step(tuple(tf.gather(part, batch) for part in (rows, targets, weights)))
                sound = [
                    tf.reduce_all(tf.math.is_finite(weight.value)) for weight in model.trainable_variables
                ]
                found = tf.reshape(model(rest, training=False), (-1,))
                scores = scores.write(
                    epoch, tf.where(tf.reduce_all(tf.stack(sound)), found, tf.constant(np.nan))
                )
            return scores.stack()

        self._step: Any = tf.function(step, input_signature=[inputs, column, column])
        self._score: Any = tf.function(score, input_signature=[inputs])
        self._train: Any = tf.function(
            train, input_signature=[inputs, column, column, order, column, numbers]
        )

    def restart(self, figures: Profile, fresh: Sequence[np.ndarray]) -> None:
        """Put it back to its beginning, with the dropout of these figures.

        Args:
            figures: of the profile.
            fresh: value of each variable: those of the tail, then what `fresh_head` returns.
        """
        classifier.restart(self._model, fresh)
        self._dropout.assign(figures.dropout)

    def train(
        self, rows: HeldRows, trained: np.ndarray, held_out: np.ndarray, *, figures: Profile, seed: int
    ) -> np.ndarray:
        """Train on some rows as `fitting.fit` would, all epochs, and score others after each of them.

        Args:
            rows: in memory.
            trained: (t,) numbers of the rows that are trained on.
            held_out: (h,) numbers of the rows that are scored.
            figures: of the profile.
            seed: of the batch order.

        Returns:
            (epochs, h) float32 scores, 0-1; NaN from the epoch on in which a weight was no number any more.
        """
        numbers = range(1, figures.epochs + 1)
        drawn = [fitting.batches(trained.size, figures=figures, seed=seed, epoch=n) for n in numbers]
        weights = np.ones(rows.labels.size, np.float32)
        if figures.class_weights == "balanced":
            weights = fitting.class_weights(rows.labels[trained])[rows.labels.astype(int)]
        return self._train(
            rows.features,
            rows.labels,
            weights,
            trained[np.stack([np.concatenate(batches) for batches in drawn])].astype(np.int32),
            np.array([fitting.learning_rate(figures, number) for number in numbers], np.float32),
            held_out.astype(np.int32),
        ).numpy()

    def reset_metrics(self) -> None:
        """Forget the losses of earlier batches."""
        self._model.reset_metrics()

    def train_on_batch(
        self, inputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> Any:
        """Train on one batch and return its mean loss, as `keras.Model.train_on_batch` does."""
        weights = np.ones(len(targets), np.float32) if sample_weight is None else sample_weight
        return self._step(inputs, targets, weights)

    def __call__(self, inputs: np.ndarray, *, training: bool) -> np.ndarray:
        """Return scores (n, 1) float32, 0-1.

        Raises:
            ValueError: it is called as in training.
        """
        if training:
            raise ValueError("Expected training=False: a quick model trains by its own step.")
        return self._score(inputs).numpy()


def fresh_head(figures: Profile, *, channels: int, prevalence: float, seed: int) -> list[np.ndarray]:
    """Return the value of each variable of a head before any training, as `classifier.build_head` draws them."""
    head = _head(figures, channels=channels, prevalence=prevalence, seed=seed)
    return [variable.numpy() for variable in head.variables]


def _head(figures: Profile, *, channels: int, prevalence: float = 0.5, seed: int = 0) -> keras.Model:
    some = figures.model_copy(update={"dropout": _SOME_DROPOUT})
    return classifier.build_head(some, channels=channels, prevalence=prevalence, seed=seed)


def _with_variable_dropout(head: keras.Model, share: Any) -> keras.Model:
    """Return the head with a share of dropped units that is no constant of its traced step."""
    import keras

    class VariableDropout(keras.layers.Dropout):
        """What Keras does, unit for unit, with a share that can be set; at 0 all units stay as they are."""

        def call(self, inputs: Any, training: bool = False) -> Any:
            """Drop units in training, and scale the others up."""
            if not training:
                return inputs
            drawn = keras.random.uniform(keras.ops.shape(inputs), seed=self.seed_generator)
            return keras.ops.where(drawn >= share, inputs / (1 - share), 0.0)

    def copy(layer: keras.Layer) -> keras.Layer:
        kind = VariableDropout if isinstance(layer, keras.layers.Dropout) else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(head, clone_function=copy)
