"""A made-up comparison for the tests of its page: seeded scores, made-up costs, phantoms as pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from PIL import Image

from data_checks.contract import PROBES
from data_checks.report import Audited
from tasks.core.comparison import Comparison, DiseaseComparison, Runs, Side, compare_rows
from tasks.core.cost import Cost
from tasks.core.metrics import Estimate, measure
from tasks.core.mistakes import Mistake, confident_mistakes
from tasks.core.phantoms import draw
from tasks.core.verdict import conclude

PROFILES = ("fast", "intensive")
FAST = Cost(2.1, 11.4, 1_467_457, 82_049, 6_200_000, 910_000_000, 0.0121, 50, 142.7)
INTENSIVE = Cost(640.0, None, 7_300_161, 1_270_000, 29_800_000, 3_460_000_000, 0.0583, 40, 19.9)
SHORTCUTS = tuple(
    Audited(probe, auroc, auroc - 0.05, auroc + 0.04, 372)
    for probe, auroc in zip(PROBES, (0.61, 0.56, 0.49, 0.51, 0.54, 0.67), strict=True)
)
REASON = "the latest completed intensive run was trained on another manifest (4f0a19c2 against 77be0d51)"
SHOT = 0.45


def scores(seed: int, n: int, *, shift: float, gain: float, seeds: tuple[int, int] = (1, 1)):
    """Labels, patients with two images each, and scores (seeds, n); the second profile's classes lie `gain` wider."""
    random = np.random.default_rng(seed)
    patients = np.arange(n) // 2
    labels = patients % 2
    shared = random.normal(size=n)[patients] + random.normal(size=n)
    width = np.repeat([shift, shift + gain], seeds)[:, None]
    logits = width * (labels - 0.5) + 0.6 * shared + 0.45 * random.normal(size=(sum(seeds), n))
    return labels, patients, 1 / (1 + np.exp(-logits))


def disease(
    key: str,
    *,
    seed: int = 0,
    n: int = 84,
    shift: float = 1.5,
    gain: float = 0.3,
    seeds: tuple[int, int] = (1, 1),
    costs: tuple[Cost, Cost] = (FAST, INTENSIVE),
    shortcuts: Sequence[Audited] = SHORTCUTS,
    warnings: Sequence[str] = (),
) -> DiseaseComparison:
    """A disease that was compared on made scores, not yet concluded."""
    labels, patients, models = scores(seed, n, shift=shift, gain=gain, seeds=seeds)

    def runs(place: int) -> Runs:
        own = models[: seeds[0]] if place == 0 else models[seeds[0] :]
        return Runs(
            PROFILES[place],
            run_ids=[
                f"{place}{number}{key}".encode().hex().ljust(32, "0")[:32] for number in range(len(own))
            ],
            seeds=range(len(own)),
            scores=own,
            thresholds=[SHOT] * len(own),
            estimates=[measure(labels, one, patients, threshold=SHOT, seed=0, resamples=100) for one in own],
            cost=costs[place],
        )

    return compare_rows(
        key, f"Title of {key}", labels=labels, patients=patients, first=runs(0), second=runs(1),
        shortcuts=shortcuts, warnings=warnings,
    )  # fmt: skip


@cache
def typical() -> Comparison:
    """Five diseases: one of each verdict, one of them with several seeds, and one that could not be compared."""
    found = [
        disease("cardiomegaly", seed=1, n=900, shift=1.9, gain=0.7),
        disease("arthritis", seed=2, n=3000, shift=3.2, gain=0.02, warnings=("Five images take no part.",)),
        disease(
            "osteoporosis",
            seed=3,
            n=84,
            shift=1.5,
            gain=0.2,
            costs=(replace(FAST, training_s=0.4), INTENSIVE),
        ),
        disease("bone_fracture", seed=4, n=500, shift=1.2, gain=0.5, seeds=(3, 2)),
        DiseaseComparison("pneumonia", "Title of pneumonia", reason=REASON),
    ]
    return conclude(PROFILES, found)


@cache
def many(count: int) -> Comparison:
    """So many diseases; they differ in name, AUROC and seconds alone."""
    one = disease("made", n=60)
    names = [f"disease_{number:02}_with_a_long_key" for number in range(count)]

    def own(number: int) -> DiseaseComparison:
        lower = 0.3 * number / count

        def of(side: Side, cost: Cost) -> Side:
            auroc = side.estimates["auroc"]
            ends = ((auroc.low or 0.0) - lower, (auroc.high or 1.0) - lower)
            moved = Estimate(auroc.value - lower, *ends, auroc.n)
            aurocs = tuple(one - lower for one in side.aurocs)
            return replace(side, cost=cost, aurocs=aurocs, estimates={**side.estimates, "auroc": moved})

        sides = (of(one.sides[0], FAST), of(one.sides[1], replace(INTENSIVE, training_s=30.0 * (1 + number))))
        return replace(one, disease=names[number], title=f"Made-up disease {number}", sides=sides)

    return conclude(PROFILES, [own(number) for number in range(count)])


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def mistakes(key: str = "osteoporosis", *, seed: int = 3, n: int = 84) -> list[Mistake]:
    """The most confident mistakes of a disease of `typical`, with phantoms; the last has no picture of any kind."""
    labels, _, models = scores(seed, n, shift=1.5, gain=0.2)
    rows = confident_mistakes(labels, models, (SHOT, SHOT))

    def one(row: int) -> Mistake:
        pixels = draw(key, patient=row, view=0, side=64).pixels
        warm = png(np.stack([pixels, pixels // 2, pixels // 4], axis=-1))
        pair = (float(models[0, row]), float(models[1, row]))
        wrong = ((pair[0] >= SHOT) != bool(labels[row]), (pair[1] >= SHOT) != bool(labels[row]))
        return Mistake(
            key, f"{row:012x}", int(labels[row]), pair, (SHOT, SHOT), wrong, png(pixels), (warm, warm)
        )

    found = [one(row) for row in rows]
    return [*found[:-1], replace(found[-1], thumbnail=None, heat=(None, None))]


def png_of(count: int) -> bytes:
    """A PNG of so many bytes; what comes after its end is not read."""
    return png(np.zeros((8, 8), np.uint8)).ljust(count, b"\0")
