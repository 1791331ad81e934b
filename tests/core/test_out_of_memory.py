"""How much a training takes, and what is known for a shortage of memory."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tasks.core.out_of_memory import Need, OutOfMemory, is_out_of_memory

MIB, GIB = 2**20, 2**30
NEED = Need(image_bytes=10 * MIB, trained=1_000_000)  # 53.4 MiB of weights and moments, 100 MiB traced


def test_the_largest_batch_fits_and_a_larger_one_does_not():
    for free in (300 * MIB, GIB, 3 * GIB):
        largest = NEED.largest_batch(free)
        assert NEED.fits(largest, free)
        assert not NEED.fits(largest + 1, free)
    assert NEED.largest_batch(GIB) == 56
    assert NEED.largest_batch(200 * MIB) == 0


def test_where_the_free_memory_is_not_told_it_is_tried():
    assert NEED.fits(10**6, None)


@pytest.mark.parametrize(
    ("batch", "free", "expected", "received", "fix"),
    [
        (100, GIB, "at most 717 MiB, of 1.0 GiB that are free", "about 1.1 GiB", "--set batch_size=50, or"),
        (400, GIB, "at most 717 MiB, of", "about 4.1 GiB", "--set batch_size=56, or close other programs"),
        (8, 70 * MIB, "at most 49 MiB, of 70 MiB", "about 233 MiB", "or lower trainable_layers or dense_units: no"),
        (8, None, "memory for one training step", "about 233 MiB", "--set batch_size=4, or"),
        (1, 10 * GIB, "at most 7.0 GiB", "about 163 MiB", "no batch fits"),
    ],
)  # fmt: skip
def test_the_error_names_a_batch_that_fits(batch, free, expected, received, fix):
    said = str(OutOfMemory("pneumonia", cause="killed", batch_size=batch, need=NEED, free=free)).splitlines()
    assert said[0] == "Training is out of memory: killed."
    assert said[1] == "  where:    pneumonia"
    assert expected in said[2]
    assert received in said[3]
    assert said[3].endswith(f"for a batch of {batch} images and 1,000,000 trained parameters")
    assert fix in said[4]


def test_what_a_shortage_looks_like_from_each_library():
    tensorflow = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    onednn = tf.errors.AbortedError(
        None, None, "Operation received an exception:Status: 1, message: could not create a primitive"
    )
    closed = ValueError("I/O operation on closed file.")
    closed.__context__ = MemoryError()
    assert all(is_out_of_memory(error) for error in (MemoryError(), tensorflow, onednn, closed))
    unimplemented = tf.errors.AbortedError(None, None, "Status: 3, message: could not create a primitive")
    for error in (unimplemented, ValueError("I/O operation on closed file."), OSError(28, "No space left")):
        assert not is_out_of_memory(error)
