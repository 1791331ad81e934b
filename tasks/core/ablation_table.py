"""The tables of a speed ablation, as texts: for the terminal, for Prefect, for a page.

In: the ablation. Out: rows; each has the same columns.
"""

from __future__ import annotations

import statistics

from tasks.core.ablation import Ablation, Measured
from tasks.core.card import interval

#: Where a column of scores would say something about a recipe that was not trained from real weights.
RANDOM = "random weights: speed only"


def lever_rows(ablation: Ablation) -> list[dict[str, str]]:
    """Return the report's own table with what was measured beside what was claimed; AUROC is of the lever alone."""
    return [
        {
            "lever": row["title"],
            "from": row["from"],
            "to": row["to"],
            "claimed": _times(row["claimed"]),
            "measured": _times(row["measured"]) if row["moved"] else "-",
            "per image": _times(row["measured_per_image"]) if row["moved"] else "-",
            "claimed so far": _times(row["so_far_claimed"]),
            "measured so far": _times(row["so_far_measured"]),
            "AUROC (95 %), n": auroc(ablation.arms[f"alone-{key}"]),
        }
        for key, row in ablation.levers().items()
    ]


def arm_rows(ablation: Ablation) -> list[dict[str, str]]:
    """Return what was measured of each arm."""
    rows = []
    for found in ablation.arms.values():
        typical = found.typical
        rows.append(
            {
                "arm": found.arm.key,
                "speed-up": _times(ablation.gain(found.arm.key)),
                "s/step": f"{typical.step_s:.4f}",
                "ms/image": f"{1000 * typical.image_s:.2f}",
                "CPU ms/image": f"{1000 * typical.processor_image_s:.2f}",
                "s/epoch": f"{typical.epoch_s:.2f}",
                "steps, epochs": f"{typical.steps}, {typical.epochs}",
                "extract s": f"{typical.extraction_s:.1f}" if found.arm.features == "cold" else "-",
                "s here": f"{found.seconds_here():.1f}",
                "s at the report's size": f"{found.seconds(ablation.size):.1f}",
                "peak MiB": f"{typical.peak_bytes / 2**20:.0f}",
                "AUROC (95 %), n": auroc(found),
            }
        )
    return rows


def notes(ablation: Ablation) -> list[str]:
    """Return what must be said of each lever, and which arms were not run by themselves."""
    said = [f"{row['title']}: {row['note']}." for row in ablation.levers().values()]
    shared = [f"{one.arm.key} as {one.shared_with}" for one in ablation.arms.values() if one.shared_with]
    if shared:
        said.append(f"The same run on these images, measured once: {', '.join(shared)}.")
    spreads = [one.typical.spread for one in ablation.arms.values() if one.typical.spread is not None]
    if spreads:
        said.append(
            f"Noise: between passes, the steps of an arm differed by {statistics.median(spreads):.0%} (median over "
            f"arms), at most by {max(spreads):.0%}. A gain smaller than that may be noise."
        )
    return said


def auroc(found: Measured) -> str:
    """Return the AUROC with interval and n, or why there is none."""
    return RANDOM if found.auroc is None else f"{interval(found.auroc, digits=2)}, {found.auroc.n}"


def _times(gain: float) -> str:
    return f"{gain:.1f}x" if gain < 100 else f"{gain:.0f}x"
