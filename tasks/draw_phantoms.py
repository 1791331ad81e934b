"""Writes folders of phantoms: `<folder>/<disease>/<negative|positive>/p00001_v1.png`, as users' own folders look.

Stands before the data's way: it makes the images that the demo starts from. Drawn in threads; each file appears
whole or not at all. In: a folder and how many patients. Out: 8-bit gray PNG files, and their number per disease.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from tasks.core.phantoms import DISEASES, draw, require_disease
from tasks.files import write_atomically
from tasks.progress import report

# Each seed owns this many patient numbers, so two seeds never share a patient.
PATIENTS_PER_SEED = 10_000
# Patients from 10,000,000 on taught the shipped base; a demo on those would flatter it.
SEEDS = 100

_CLASSES = ("negative", "positive")
# zlib level 1: noise hardly compresses, and level 6 takes three times as long for 3 % less.
_COMPRESSION = 1


def write_phantoms(
    folder: Path,
    *,
    patients: int,
    views: int = 2,
    seed: int = 0,
    side: int = 256,
    diseases: Iterable[str] = DISEASES,
) -> dict[str, int]:
    """Draw and write made-up radiographs, about half of the patients positive.

    Args:
        folder: Where to write; made if missing. An image that is there already is not drawn again: a folder
            belongs to one version of the drawing code (`phantoms.VERSION`) and one side.
        patients: Number of patients of each disease, 1 to 10,000.
        views: Number of images of each patient.
        seed: 0 to 99; another seed, other patients.
        side: Side of the images, pixels.
        diseases: Those to draw, of `tasks.core.phantoms.DISEASES`.

    Returns:
        The number of images that are there, by disease.

    Raises:
        ValueError: If a disease is unknown or a number is out of range; nothing is written then.
        StorageError: If the folder cannot be written.
    """
    diseases = tuple(diseases)
    for disease in diseases:
        require_disease(disease)
    for name, received, most in (
        ("patients", patients, PATIENTS_PER_SEED),
        ("views", views, 99),
        ("seed + 1", seed + 1, SEEDS),
    ):
        if not 1 <= received <= most:
            raise ValueError(
                f"Too few or too many phantoms. Expected {name} in 1..{most}. Received: {received}."
            )
    jobs = [
        (disease, seed * PATIENTS_PER_SEED + number)
        for disease in diseases
        for number in range(1, patients + 1)
    ]

    def write(job: tuple[str, int]) -> None:
        for view in range(1, views + 1):
            _write_image(folder / job[0], job[0], patient=job[1], view=view, side=side)

    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        # Reading the results raises what a thread raised.
        for done, _ in enumerate(threads.map(write, jobs), start=1):
            if done % 16 == 0 or done == len(jobs):
                report("draw", done * views, len(jobs) * views)
    return dict.fromkeys(diseases, patients * views)


def _write_image(folder: Path, disease: str, *, patient: int, view: int, side: int) -> None:
    """Draw one view and write it under its class, unless it is there; a reader never sees half a file."""
    name = f"p{patient:05d}_v{view}.png"
    if any((folder / label / name).exists() for label in _CLASSES):
        return
    phantom = draw(disease, patient=patient, view=view, side=side)
    path = folder / _CLASSES[phantom.label] / name
    picture = Image.fromarray(phantom.pixels)
    write_atomically(
        path, lambda file: picture.save(file, format="PNG", optimize=False, compress_level=_COMPRESSION)
    )
