"""A model that a search trains hundreds of times: its step is traced once, and an epoch is one call.

In: a profile. Out: a model for `fitting.fit` to train; each step is the very step of Keras. To trace a step takes as
long as ten trainings of a head on 1,000 images, and to call Keras for each step doubles them (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.core import classifier, fitting
from tasks.core.profile import Profile

if TYPE_CHECKING:
    import keras

#: The head is built with it, whatever it is then set to: without any, Keras leaves out the state of dropout.
_SOME_DROPOUT = 0.5


class QuickModel:
    """What `fitting.fit` asks of a model; `whole_epochs` has it ask once for each epoch.

    Attributes:
        compiled: it is.
        optimizer: of the model.
        variables: weights and the states of dropout.
        trainable_variables: of them.
    """

    compiled = True

    def __init__(self, figures: Profile, *, tail: keras.Model | None, channels: int) -> None:
        """Build a model whose step serves all figures of the same `dense_units` and `batch_size`.

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
        size = figures.batch_size
        inputs = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        column = tf.TensorSpec((None,), tf.float32)

        def train(rows: Any, targets: Any, weights: Any) -> Any:
            loss = tf.constant(0.0)
            for start in tf.range(0, tf.shape(targets)[0], size):
                batch = (part[start : start + size] for part in (rows, targets, weights))
                loss = model.train_step(tuple(batch))["loss"]
            return loss

        def score(rows: Any) -> Any:
            return model(rows, training=False)

        self._train: Any = tf.function(train, input_signature=[inputs, column, column])
        self._score: Any = tf.function(score, input_signature=[inputs])

    def restart(self, figures: Profile, fresh: Sequence[np.ndarray]) -> None:
        """Put it back to its beginning, with the dropout of these figures.

        Args:
            figures: of the profile.
            fresh: value of each variable: those of the tail, then what `fresh_head` returns.
        """
        classifier.restart(self._model, fresh)
        self._dropout.assign(figures.dropout)

    def reset_metrics(self) -> None:
        """Forget the losses of earlier batches."""
        self._model.reset_metrics()

    def train_on_batch(
        self, inputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> Any:
        """Train on rows in their order, a step for each `batch_size` of them; return the mean loss since the reset.

        Args:
            inputs: (n, *features) float32.
            targets: (n,) float32, 0-1.
            sample_weight: (n,) float32; None where all count the same.
        """
        weights = np.ones(len(targets), np.float32) if sample_weight is None else sample_weight
        return self._train(inputs, targets, weights)

    def __call__(self, inputs: np.ndarray, *, training: bool) -> np.ndarray:
        """Return scores (n, 1) float32, 0-1.

        Raises:
            ValueError: it is called as in training.
        """
        if training:
            raise ValueError("Expected training=False: a quick model trains by train_on_batch alone.")
        return self._score(inputs).numpy()


def fresh_head(figures: Profile, *, channels: int, prevalence: float, seed: int) -> list[np.ndarray]:
    """Return the value of each variable of a head before any training, as `classifier.build_head` draws them."""
    head = _head(figures, channels=channels, prevalence=prevalence, seed=seed)
    return [variable.numpy() for variable in head.variables]


def whole_epochs(figures: Profile, rows: int) -> Profile:
    """Return figures with which `fitting.fit` hands a quick model the rows of an epoch in one batch.

    They are the same rows in the same order: `fitting.batches` cuts the batches of an epoch from one permutation.

    Args:
        figures: of the profile.
        rows: that are trained on.
    """
    trained = min(rows, figures.steps_per_epoch * figures.batch_size)
    return figures.model_copy(update={"batch_size": trained, "steps_per_epoch": 1, "validation_steps": rows})


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
