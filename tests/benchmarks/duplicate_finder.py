"""How many copies the duplicate finder finds, how many strangers it takes for copies, and how long a million hashes take.

    python -m tests.benchmarks.duplicate_finder [--data DIR] [--images N] [--hashes N]

Makes copies in memory, of drawn phantoms or of the images of any folder, kind by kind, and looks for each among all
originals with the distance that manifests use, turned copies included. Run by hand; writes nothing.
"""

from __future__ import annotations

import argparse
import io
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import binomtest

from data_checks.copies.duplicates import NEAR_DUPLICATE_BITS, clusters, near_duplicates, turned
from data_checks.copies.name_stems import stem_groups
from data_checks.copies.perceptual_hash import perceptual_hash
from data_checks.images.image_facts import MAX_PIXELS, UnreadableImage, decode
from tasks.core.phantoms import DISEASES, draw

Gray = np.ndarray
TURNS = (np.fliplr, np.flipud, np.rot90, lambda a: np.rot90(a, 2), lambda a: np.rot90(a, 3), np.transpose)


def _encode(gray: Gray, rng: np.random.Generator) -> Gray:
    """Save as JPEG at quality 50 to 95 and read again."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(gray)).save(buffer, "JPEG", quality=int(rng.integers(50, 96)))
    return np.asarray(Image.open(buffer))


def _resize(gray: Gray, rng: np.random.Generator) -> Gray:
    """Half to double size."""
    factor = rng.uniform(0.5, 2)
    size = [max(1, round(side * factor)) for side in reversed(gray.shape)]
    return np.asarray(Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BICUBIC))


def _tone(gray: Gray, rng: np.random.Generator) -> Gray:
    """Contrast and brightness up to 15 %, clipped as a viewer does."""
    contrast, brightness = rng.uniform(0.85, 1.15), rng.uniform(-38, 38)
    return np.rint(np.clip((gray.astype(float) - 128) * contrast + 128 + brightness, 0, 255)).astype(np.uint8)


def _turn(gray: Gray, rng: np.random.Generator) -> Gray:
    """Any flip or quarter turn."""
    return TURNS[rng.integers(len(TURNS))](gray)


def _rotate(degrees: float) -> Callable[[Gray, np.random.Generator], Gray]:
    def rotate(gray: Gray, rng: np.random.Generator) -> Gray:
        signed = degrees if rng.random() < 0.5 else -degrees
        return np.asarray(Image.fromarray(gray).rotate(signed, Image.Resampling.BILINEAR))

    return rotate


def _crop(share: float) -> Callable[[Gray, np.random.Generator], Gray]:
    """Cut the share off each side's length, at random ends."""

    def crop(gray: Gray, rng: np.random.Generator) -> Gray:
        lost = [round(side * share) for side in gray.shape]
        first = [int(rng.integers(0, n + 1)) for n in lost]
        return gray[
            first[0] : gray.shape[0] - lost[0] + first[0], first[1] : gray.shape[1] - lost[1] + first[1]
        ]

    return crop


def _local_contrast(gray: Gray, rng: np.random.Generator) -> Gray:
    """Histogram equalisation in 4 x 4 tiles with clipped histograms, bilinear between tiles: as CLAHE does."""
    tiles, (height, width) = 4, gray.shape
    curves = np.empty((tiles, tiles, 256))
    for row in range(tiles):
        for column in range(tiles):
            tile = gray[
                row * height // tiles : max((row + 1) * height // tiles, row * height // tiles + 1),
                column * width // tiles : max((column + 1) * width // tiles, column * width // tiles + 1),
            ]
            counts = np.bincount(tile.ravel(), minlength=256) / tile.size
            excess = np.maximum(counts - 2 / 256, 0).sum()
            curves[row, column] = np.cumsum(np.minimum(counts, 2 / 256) + excess / 256) * 255
    y = np.clip((np.arange(height) + 0.5) / height * tiles - 0.5, 0, tiles - 1)
    x = np.clip((np.arange(width) + 0.5) / width * tiles - 0.5, 0, tiles - 1)
    top, left = np.minimum(y.astype(int), tiles - 2), np.minimum(x.astype(int), tiles - 2)
    down, right = (y - top)[:, None], (x - left)[None, :]
    mixed = np.zeros(gray.shape)
    for a, wa in ((0, 1 - down), (1, down)):
        for b, wb in ((0, 1 - right), (1, right)):
            mixed += wa * wb * curves[(top + a)[:, None], (left + b)[None, :], gray]
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def _chain(
    *steps: Callable[[Gray, np.random.Generator], Gray],
) -> Callable[[Gray, np.random.Generator], Gray]:
    def chain(gray: Gray, rng: np.random.Generator) -> Gray:
        for step in steps:
            gray = step(gray, rng)
        return gray

    return chain


KINDS: dict[str, Callable[[Gray, np.random.Generator], Gray]] = {
    "re-encoded (JPEG 50-95)": _encode,
    "resized (0.5-2)": _resize,
    "contrast, brightness (15 %)": _tone,
    "flipped or quarter-turned": _turn,
    "all of these at once": _chain(_turn, _resize, _tone, _encode),
    "rotated by 1 degree": _rotate(1),
    "rotated by 2 degrees": _rotate(2),
    "rotated by 5 degrees": _rotate(5),
    "cropped by 2 %": _crop(0.02),
    "cropped by 5 %": _crop(0.05),
    "local contrast (as CLAHE)": _local_contrast,
}


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, help="folder with images; else phantoms are drawn")
    ask.add_argument("--images", type=int, default=1000, help="phantoms to draw (1000)")
    ask.add_argument("--side", type=int, default=256, help="of the phantoms, px (256)")
    ask.add_argument("--hashes", type=int, default=1_000_000, help="synthetic hashes to search; 0: none")
    said = ask.parse_args()
    images = _read(said.data) if said.data else _drawn(said.images, said.side)
    _show_recall_and_strangers(images)
    if said.hashes:
        _show_search(said.hashes)


def _read(folder: Path) -> Iterator[tuple[str, Gray]]:
    """Yield what can be decoded, each content once, with its path."""
    seen = set()
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if data and data not in seen:
            seen.add(data)
            try:
                yield path.relative_to(folder).as_posix(), decode(data, max_pixels=MAX_PIXELS)
            except UnreadableImage:
                continue


def _drawn(count: int, side: int) -> Iterator[tuple[str, Gray]]:
    for number in range(count):
        disease = DISEASES[number % len(DISEASES)]
        yield f"{disease}/{number}", draw(disease, patient=number, view=0, side=side).pixels


def _show_recall_and_strangers(images: Iterator[tuple[str, Gray]]) -> None:
    rng = np.random.default_rng(0)
    rows: list[list[bytes]] = []
    paths: list[str] = []
    for path, gray in images:
        paths.append(path)
        rows.append([perceptual_hash(gray), *(perceptual_hash(kind(gray, rng)) for kind in KINDS.values())])
    if len(rows) < 2:
        sys.exit("Expected two readable images or more. Name another folder with --data.")
    hashes = np.array([[np.frombuffer(one, np.uint8) for one in row] for row in rows])
    n, originals = len(rows), hashes[:, 0]
    known = near_duplicates(originals, within=NEAR_DUPLICATE_BITS, dihedral=True)
    # Images that are copies of each other before any is made, by hash or by name, are no strangers.
    classes = ["/".join(path.split("/")[:1] + path.split("/")[-2:-1]) for path in paths]
    one = clusters(n, np.concatenate([known, stem_groups(paths, classes=classes).links]))
    is_turned = turned(originals, known, within=NEAR_DUPLICATE_BITS)
    print(
        f"{n} images, {len(np.unique(one))} after merging {len(known)} pairs ({is_turned.sum()} turned) and names\n"
    )
    print(f"{'copies':30}{'found':>8}{'of':>8}{'recall':>9}  95 % interval      pairs of strangers")
    for column, kind in enumerate(KINDS, 1):
        pairs = near_duplicates(
            np.concatenate([originals, hashes[:, column]]), within=NEAR_DUPLICATE_BITS, dihedral=True
        )
        labels = clusters(2 * n, pairs)
        found = int((labels[:n] == labels[n:]).sum())
        left, right = one[pairs % n].T
        strangers = np.unique(np.sort(np.stack([left, right], 1)[left != right], axis=1), axis=0)
        low, high = _interval(found, n)
        print(f"{kind:30}{found:8}{n:8}{found / n:9.2%}  {low:.2%} to {high:.2%}".ljust(76), len(strangers))
    _show_nearest_strangers(originals[np.unique(one)])


def _show_nearest_strangers(hashes: np.ndarray) -> None:
    """Print how near different originals come, over the eight turns, at wider distances than the one in use."""
    n = len(hashes)
    total = n * (n - 1) // 2
    print(f"\nDifferent images, {total} pairs, of which are within")
    for within in (NEAR_DUPLICATE_BITS, 32, 40, 48):
        pairs = near_duplicates(hashes, within=within, dihedral=True)
        low, high = _interval(len(pairs), total)
        as_turned = int(turned(hashes, pairs, within=within).sum())
        print(f"  {within} bits: {len(pairs)} ({as_turned} turned), {low:.2e} to {high:.2e}")


def _interval(found: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share."""
    interval = binomtest(found, total).proportion_ci(method="wilson")
    return interval.low, interval.high


def _show_search(count: int) -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (count, 32), dtype=np.uint8)
    for dihedral in (False, True):
        began = time.perf_counter()
        pairs = near_duplicates(hashes, within=NEAR_DUPLICATE_BITS, dihedral=dihedral)
        seconds = time.perf_counter() - began
        # Linux counts in KiB, macOS in bytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1 << (20 if sys.platform == "darwin" else 10)
        )
        kind = "turned copies included" if dihedral else "as they stand"
        print(
            f"\n{count} synthetic hashes, {kind}: {seconds:.1f} s, peak {peak:.0f} MiB so far, {len(pairs)} pairs"
        )


if __name__ == "__main__":
    main()
