"""Memory of a training: how much it will take, whether that is there, and the error that says which batch would fit.

In: sizes, and what is free. Out: a yes or no, or the error.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.core.errors import RadtrainError

#: Share of the free memory that a training may take: what else is held is not known to the byte.
_USABLE = 0.7
#: How often the trained weights are held, as float32: gradient and two moments of Adam; the best ones; those of two
#: states and of the file of a checkpoint, each with its moments (docs/LOG.md).
_COPIES = 14
#: What tracing a step and writing the model's file take, bytes (docs/LOG.md).
_TRACED = 100 * 2**20


@dataclass(frozen=True, slots=True)
class Need:
    """What a training takes beside the model itself.

    Attributes:
        image_bytes: of a step, for each image of its batch.
        trained: number of trainable parameters.
    """

    image_bytes: int
    trained: int

    def of_batch(self, size: int) -> int:
        """Return bytes for a batch of so many images."""
        return _TRACED + 4 * _COPIES * self.trained + size * self.image_bytes

    def fits(self, size: int, free: int | None) -> bool:
        """Tell whether there is room; where the free memory is not known, it is tried."""
        return free is None or self.of_batch(size) <= _USABLE * free

    def largest_batch(self, free: int) -> int:
        """Return the images of the largest batch that has room; 0 where not even one image has."""
        return max(0, int((_USABLE * free - self.of_batch(0)) / self.image_bytes))


class OutOfMemory(RadtrainError):
    """A training takes more memory than there is; the text says which batch would fit."""

    def __init__(self, disease: str, *, cause: str, batch_size: int, need: Need, free: int | None) -> None:
        fits = batch_size // 2
        if free is not None:
            fits = min(fits, need.largest_batch(free))
        what = f"a batch of {batch_size} images and {need.trained:,} trained parameters"
        super().__init__(
            f"Training is out of memory: {cause}.",
            where=disease,
            expected="memory for one training step"
            if free is None
            else f"at most {_said(int(_USABLE * free))}, of {_said(free)} that are free",
            received=f"about {_said(need.of_batch(batch_size))} for {what}",
            fix=f"--set batch_size={fits}, or close other programs"
            if fits
            else "close other programs, or lower trainable_layers or dense_units: no batch fits",
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, here or in what the error comes from.

    TensorFlow says ResourceExhausted; oneDNN, below it, refuses a primitive with its status 1, out of memory; and a
    file that is closed for want of memory says something else altogether.
    """
    import tensorflow as tf

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError | tf.errors.ResourceExhaustedError):
            return True
        if isinstance(seen, tf.errors.AbortedError) and "Status: 1," in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _said(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
