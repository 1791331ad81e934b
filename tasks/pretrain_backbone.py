"""Pretrains the small shipped base on phantoms, so that the demo works without a network or real images.

A script beside the data's way, run by whoever makes a new base: `python -m tasks.pretrain_backbone --minutes 20`.
In: phantoms of patients from 10,000,000 on, drawn here. Out: an .npz of float16 weights, in `get_weights` order.
What it gave when it was last run stands in docs/reference/phantom-base.md.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import auroc
from tasks.core.phantoms import DISEASES, LATENT_NAMES, PART, draw
from tasks.core.pixels import shrink

if TYPE_CHECKING:
    import keras

ALPHA = 0.75
IMAGE_SIDE = 128  # px, as the fast profile sees images
# Training begins on smaller pictures: a step on 96 px costs half of one on 128 px (0.39 s and 0.74 s on two cores).
SMALL_SIDE = 96  # px
_SMALL_SHARE = 0.55  # of the time
FIRST_PATIENT = 10_000_000  # the demo stays below 1,000,000
PROBE_PATIENT = 20_000_000  # patients of the linear probe, never trained on
DEFAULT_OUT = Path(__file__).parent / "catalog" / "weights" / "mobilenet_v2_0.75_phantoms.npz"

_PARTS = tuple(LATENT_NAMES)
_COLUMNS = tuple((part, name) for part in _PARTS for name in LATENT_NAMES[part])
_LESION_X, _LESION_Y = _COLUMNS.index(("forearm", "lesion_x")), _COLUMNS.index(("forearm", "lesion_y"))
_FRACTURE = DISEASES.index("bone_fracture")
# A fracture fills one cell in 64; without being told which, 1,800 steps learned nothing of it (AUROC 0.60).
_MAP_LAYER = "block_13_expand_relu"  # one cell for 16 x 16 px
_BATCH = 64
_LEARNING_RATE = 1.5e-3
# The library's 0.999 needs thousands of steps to forget its start; these runs have about a thousand.
_NORM_MOMENTUM = 0.9
# Batches whose statistics are averaged at the end; inference reads these, training never did.
_NORM_BATCHES = 40
_DRAWING_THREADS = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pool:
    """Drawn phantoms and what is known of them.

    Attributes:
        pixels: By side in px (96 and 128): (n, side, side) uint8.
        disease: (n,) int, index into DISEASES.
        label: (n,) float32, 0 or 1.
        latents: (n, len(_COLUMNS)) float32.
        known: (n, len(_COLUMNS)) float32, 1 where the latent belongs to the image's body part.
    """

    pixels: dict[int, NDArray[np.uint8]]
    disease: NDArray[np.int64]
    label: NDArray[np.float32]
    latents: NDArray[np.float32]
    known: NDArray[np.float32]


def draw_pool(per_disease: int, *, first_patient: int, focus: str | None = None) -> Pool:
    """Draw `per_disease` patients of every disease, four times as many of `focus`, one view each."""
    sides = (SMALL_SIDE, IMAGE_SIDE)
    jobs = [
        (index, first_patient + number)
        for index, disease in enumerate(DISEASES)
        for number in range(per_disease * (4 if disease == focus else 1))
    ]

    def one(job: tuple[int, int]) -> tuple[list[NDArray[np.uint8]], int, tuple[float, ...]]:
        phantom = draw(DISEASES[job[0]], patient=job[1], view=1)
        return [shrink(phantom.pixels, side) for side in sides], phantom.label, phantom.latents

    with ThreadPoolExecutor(_DRAWING_THREADS) as threads:
        drawn = list(threads.map(one, jobs))
    latents = np.zeros((len(jobs), len(_COLUMNS)), np.float32)
    known = np.zeros_like(latents)
    for row, ((index, _), (_, _, values)) in enumerate(zip(jobs, drawn, strict=True)):
        columns = [place for place, (part, _) in enumerate(_COLUMNS) if part == PART[DISEASES[index]]]
        latents[row, columns], known[row, columns] = values, 1
    return Pool(
        pixels={
            side: np.stack([pixels[place] for pixels, _, _ in drawn]) for place, side in enumerate(sides)
        },
        disease=np.array([index for index, _ in jobs]),
        label=np.array([label for _, label, _ in drawn], np.float32),
        latents=latents,
        known=known,
    )


def batch_of(pool: Pool, side: int, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """Return a random augmented batch: pixels in -1..1, disease, label, latents, known."""
    rows = rng.integers(0, len(pool.label), _BATCH)
    pixels, latents = pool.pixels[side][rows].astype(np.float32), pool.latents[rows].copy()
    for place, row in enumerate(rows):
        down, right = rng.integers(-6, 7, 2)
        pixels[place] = np.roll(pixels[place], (down, right), (0, 1))
        latents[place, [_LESION_X, _LESION_Y]] += (
            np.array([right, down]) * pool.known[row, _LESION_X] * 2 / side
        )
        # A mirrored knee is another knee; a mirrored chest has its heart on the wrong side.
        if PART[DISEASES[pool.disease[row]]] != "chest" and rng.random() < 0.5:
            pixels[place] = pixels[place, :, ::-1]
            latents[place, _LESION_X] *= -1
    gain, offset = rng.uniform(0.8, 1.2, (_BATCH, 1, 1)), rng.uniform(-15, 15, (_BATCH, 1, 1))
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(0, 5, (_BATCH, 1, 1))
    pixels = np.clip(pixels * gain + offset + noise, 0, 255).astype(np.float32) / 127.5 - 1
    return pixels[..., None], pool.disease[rows], pool.label[rows], latents, pool.known[rows]


def build_networks() -> tuple[keras.Model, keras.Model]:
    """Return the base, and the base with its pretraining outputs: latents, labels and body parts side by side."""
    import keras
    import tensorflow as tf

    class FusedNorm(keras.layers.BatchNormalization):
        """The same layer by TensorFlow's fused kernel: a training step took 0.74 s with it, 1.43 s without."""

        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            if not training:
                return super().call(inputs, training=training, mask=mask)
            layer: Any = self  # its variables are annotated as optional
            outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs, layer.gamma.value, layer.beta.value, epsilon=self.epsilon, is_training=True
            )
            for moving, seen in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
                moving.assign(self.momentum * moving + (1 - self.momentum) * seen)
            return outputs

    def fused(layer: keras.layers.Layer) -> keras.layers.Layer:
        norm = isinstance(layer, keras.layers.BatchNormalization)
        return (FusedNorm if norm else type(layer)).from_config(layer.get_config())

    base = keras.models.clone_model(stock_base(None), clone_function=fused)
    _set_norm_momentum(base, _NORM_MOMENTUM)
    gray = keras.Input((None, None, 1))
    both = keras.Model(base.input, [base.output, base.get_layer(_MAP_LAYER).output])
    top, cells = both(keras.layers.Concatenate()([gray, gray, gray]))
    outputs = keras.layers.Dense(len(_COLUMNS) + len(DISEASES) + len(_PARTS))(
        keras.layers.GlobalAveragePooling2D()(top)
    )
    return base, keras.Model(gray, [outputs, keras.layers.Dense(1)(cells)])


def stock_base(side: int | None) -> keras.Model:
    """Return the library's own network for pictures of `side` px (None: any even side), untrained."""
    import keras

    return keras.applications.MobileNetV2(
        input_shape=(side, side, 3),
        alpha=ALPHA,
        include_top=False,
        weights=None,  # pyright: ignore[reportArgumentType]
    )


def _set_norm_momentum(base: keras.Model, momentum: float) -> None:
    for layer in base.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = momentum


def train(
    network: keras.Model, pool: Pool, *, seconds: float, small_share: float, rng: np.random.Generator
) -> int:
    """Train until the time is up; the learning rate follows a cosine over the time, not over the steps.

    Returns:
        The number of steps taken.
    """
    import keras
    import tensorflow as tf

    optimizer: Any = keras.optimizers.Adam(_LEARNING_RATE, clipnorm=1.0)
    part_of = tf.constant([_PARTS.index(PART[disease]) for disease in DISEASES])
    latent_columns = len(_COLUMNS)

    @tf.function(autograph=False)
    def step(pixels: Any, disease: Any, label: Any, latents: Any, known: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs, cells = network(pixels, training=True)
            error = (outputs[:, :latent_columns] - latents) * known
            regression = tf.reduce_sum(error * error) / tf.reduce_sum(known)
            own = tf.gather(
                outputs[:, latent_columns : latent_columns + len(DISEASES)], disease, batch_dims=1
            )
            labels = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(label, own))
            parts = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    tf.gather(part_of, disease), outputs[:, latent_columns + len(DISEASES) :]
                )
            )
            places = _place_loss(cells[..., 0], disease, label, latents)
            loss = 2.0 * regression + labels + 0.2 * parts + places
        optimizer.apply_gradients(
            zip(tape.gradient(loss, network.trainable_variables), network.trainable_variables, strict=True)
        )
        return tf.stack([loss, regression, labels, parts, places])

    start, steps, recent = time.monotonic(), 0, []
    # The next batch is made while this one is trained on.
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(batch_of, pool, SMALL_SIDE if small_share else IMAGE_SIDE, rng)
        while (elapsed := time.monotonic() - start) < seconds:
            batch = coming.result()
            side = SMALL_SIDE if elapsed < small_share * seconds else IMAGE_SIDE
            coming = maker.submit(batch_of, pool, side, rng)
            warm = min(1.0, (steps + 1) / 50)
            optimizer.learning_rate.assign(
                _LEARNING_RATE * warm * (0.5 + 0.5 * math.cos(math.pi * elapsed / seconds)) + 1e-6
            )
            recent.append(step(*batch))
            steps += 1
            if steps % 100 == 0:
                means = np.mean([losses.numpy() for losses in recent], axis=0)
                _log.info(
                    "step %d  %.0f s  loss %.3f  latents %.3f  labels %.3f  parts %.3f  places %.3f",
                    steps,
                    elapsed,
                    *means,
                )
                recent = []
    return steps


def _place_loss(cells: Any, disease: Any, label: Any, latents: Any) -> Any:
    """Return how badly a map of cells, (batch, rows, columns) logits, tells whether and where a bone is broken."""
    import tensorflow as tf

    rows = tf.shape(cells)[1]
    flat = tf.reshape(cells, (-1, rows * rows))
    arm = tf.cast(tf.equal(disease, _FRACTURE), tf.float32)
    # The film as a whole is as broken as its most broken cells.
    whole = tf.nn.sigmoid_cross_entropy_with_logits(label, tf.reduce_logsumexp(flat, axis=1) - 2.0)
    place = tf.cast(
        (tf.gather(latents, [_LESION_Y, _LESION_X], axis=1) + 1) / 2 * tf.cast(rows, tf.float32), tf.int32
    )
    place = tf.clip_by_value(place, 0, rows - 1)
    where = tf.nn.sparse_softmax_cross_entropy_with_logits(place[:, 0] * rows + place[:, 1], flat)
    return tf.reduce_sum(arm * (whole + 0.5 * label * where)) / (tf.reduce_sum(arm) + 1e-6)


def estimate_norms(base: keras.Model, network: keras.Model, pool: Pool, *, rng: np.random.Generator) -> None:
    """Round the weights to float16, then set the statistics that inference reads to those of the rounded network.

    In this order the statistics make good what the rounding of the kernels shifts.
    """
    import tensorflow as tf

    base.set_weights([_rounded(array) for array in base.get_weights()])
    # 0.9 ** 40 = 1.5 % of the old values are left at the end.
    _set_norm_momentum(base, 0.9)

    @tf.function
    def observe(pixels: Any) -> Any:
        return network(pixels, training=True)

    for _ in range(_NORM_BATCHES):
        observe(batch_of(pool, IMAGE_SIDE, rng)[0])


def features_of(base: keras.Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the frozen base makes of images: (n, side, side) uint8 in, (n, channels) float32 out."""
    import tensorflow as tf

    @tf.function
    def forward(gray: Any) -> Any:
        scaled = tf.cast(gray, tf.float32)[..., None] / 127.5 - 1
        return tf.reduce_mean(base(tf.repeat(scaled, 3, axis=-1), training=False), axis=(1, 2))

    return np.concatenate(
        [forward(tf.constant(pixels[at : at + 100])).numpy() for at in range(0, len(pixels), 100)]
    )


def linear_probe(features: NDArray[np.float32], pool: Pool, *, share: float = 2 / 3) -> dict[str, float]:
    """Return the held-out AUROC of a ridge regression on frozen features, per disease."""
    found = {}
    for index, disease in enumerate(DISEASES):
        rows = pool.disease == index
        x, y = features[rows].astype(np.float64), pool.label[rows].astype(np.float64)
        cut = int(share * len(x))
        scale = x[:cut].std(axis=0) + 1e-3
        x = (x - x[:cut].mean(axis=0)) / scale
        # The dual form: as many unknowns as images, not as features; the penalty is one hundredth per feature.
        kernel = x[:cut] @ x[:cut].T / x.shape[1]
        dual = np.linalg.solve(kernel + 0.01 * np.eye(cut), y[:cut] - y[:cut].mean())
        scores = 1 / (1 + np.exp(-(x[cut:] @ (x[:cut].T @ dual)) / x.shape[1]))
        found[disease] = float(auroc(y[cut:].astype(bool), scores, np.ones((1, len(scores))))[0])
    return found


def save(base: keras.Model, out: Path) -> str:
    """Write the weights as float16, in `get_weights` order, and return the file's sha256."""
    weights = [array.astype(np.float16) for array in base.get_weights()]
    if not all(np.isfinite(array).all() for array in weights):
        raise ValueError("A weight does not fit float16. Expected every size below 65504.")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part.npz")
    np.savez_compressed(part, **{f"{number:03d}": array for number, array in enumerate(weights)})  # pyright: ignore
    os.replace(part, out)
    return hashlib.sha256(out.read_bytes()).hexdigest()


def load(path: Path) -> list[NDArray[np.float32]]:
    """Return the arrays of a file written by `save`, in `get_weights` order."""
    with np.load(path) as arrays:
        return [arrays[name].astype(np.float32) for name in sorted(arrays.files)]


def main(arguments: list[str] | None = None) -> None:
    """Draw, train, probe, save."""
    parser = argparse.ArgumentParser(description="Pretrain MobileNetV2 (alpha 0.75) on phantoms.")
    parser.add_argument("--minutes", type=float, default=20.0, help="time for training itself")
    parser.add_argument("--per-disease", type=int, default=2000, help="training patients drawn per disease")
    parser.add_argument("--start", type=Path, help="weights to go on from, on full-size pictures")
    parser.add_argument("--focus", choices=DISEASES, help="the disease that half of the pictures show")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    import keras

    keras.utils.set_random_seed(chosen.seed)
    rng = np.random.default_rng(chosen.seed)
    first = FIRST_PATIENT + 100_000 * chosen.seed
    pool = draw_pool(chosen.per_disease, first_patient=first, focus=chosen.focus)
    held_out = draw_pool(450, first_patient=PROBE_PATIENT)
    _log.info("drew %d images to train on and %d to probe with", len(pool.label), len(held_out.label))
    base, network = build_networks()
    if chosen.start:
        base.set_weights(load(chosen.start))
    small_share = 0.0 if chosen.start else _SMALL_SHARE
    steps = train(network, pool, seconds=chosen.minutes * 60, small_share=small_share, rng=rng)
    estimate_norms(base, network, pool, rng=rng)
    exact = features_of(base, held_out.pixels[IMAGE_SIDE])
    digest = save(base, chosen.out)
    # What is shipped is measured as users load it: the file, in the library's own network.
    shipped_base = stock_base(IMAGE_SIDE)
    shipped_base.set_weights(load(chosen.out))
    shipped = features_of(shipped_base, held_out.pixels[IMAGE_SIDE])
    cosine = (exact * shipped).sum(1) / (np.linalg.norm(exact, axis=1) * np.linalg.norm(shipped, axis=1))
    probe = linear_probe(shipped, held_out)
    _log.info(
        "%d steps of %d; probe %s", steps, _BATCH, "  ".join(f"{key} {probe[key]:.3f}" for key in probe)
    )
    _log.info(
        "float16: cosine at least %.6f, largest error %.4f of a feature deviation of %.4f",
        cosine.min(),
        np.abs(exact - shipped).max(),
        exact.std(),
    )
    _log.info("%s  %d bytes  sha256 %s", chosen.out, chosen.out.stat().st_size, digest)


def _rounded(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array.astype(np.float16).astype(np.float32)


if __name__ == "__main__":
    main()
