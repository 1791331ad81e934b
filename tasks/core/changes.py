"""What changed since the last accepted manifest: images added, removed, relabelled, and distributions moved.

Stands beside the checks: the small table kept when a disease was trained, and that of now, in; one row of counts and
the largest distance out (contract: CHANGES). A distance of small sets is large by chance: `beyond_chance` tells how large.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.curves import Floats

#: What is compared of an image: brightness, contrast and size.
MEASURES = ("mean", "contrast", "width", "height")
#: Chance that nothing moved and a distance is called beyond chance all the same; over all measures together.
ALPHA = 0.001

_COLUMNS = ["image", "label", "split", *MEASURES]


def accepted(rows: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return what is kept of a disease's used images, for the next check to compare with; it names no file.

    Args:
        rows: manifest rows of one disease.
        facts: a row per file, `path` a column or the index.

    Returns:
        One row per used image, by its sha256: image, label (int8), split, mean and contrast (0-255), width and
        height (px).

    Raises:
        ValueError: used images without facts.
    """
    used = rows[rows["reason"].isna()]
    keyed = facts.set_index("path") if "path" in facts.columns else facts
    measured = keyed[list(MEASURES)].reindex(used["path"])
    missing = int(measured.isna().any(axis=1).sum())
    if missing:
        raise ValueError(
            f"Expected the facts {', '.join(MEASURES)} of each of {len(used)} used images, received {missing} "
            "without. Scan their folders again."
        )
    table = used[["image", "label", "split"]].reset_index(drop=True).astype({"label": "int8"})
    table[list(MEASURES)] = measured.to_numpy(np.float64)
    return table[_COLUMNS].sort_values("image", ignore_index=True)


def changes(disease: str, before: pd.DataFrame | None, now: pd.DataFrame) -> dict[str, Any]:
    """Return what changed, as a row of the contract's CHANGES.

    Args:
        disease: key of the catalog.
        before: what `accepted` gave of the last accepted manifest; None where there is none yet.
        now: what `accepted` gives of this one.

    Returns:
        disease; before, added, removed, relabelled and changed (counts of images); shift (0-1); moved, which is the
        shift where it is `beyond_chance`, else 0. Without an accepted manifest all figures are 0.
    """
    if before is None:
        before = now = now.head(0)
    then, today = before.set_index("image"), now.set_index("image")
    both = then.index.intersection(today.index)
    added, removed = len(today) - len(both), len(then) - len(both)
    relabelled = int((then.loc[both, "label"].to_numpy() != today.loc[both, "label"].to_numpy()).sum())
    shift = max(distance(then[name].to_numpy(), today[name].to_numpy()) for name in MEASURES)
    return {
        "disease": disease,
        "before": len(then),
        "added": added,
        "removed": removed,
        "relabelled": relabelled,
        "changed": added + removed + relabelled,
        "shift": shift,
        "moved": shift if shift > beyond_chance(len(then), len(today)) else 0.0,
    }


def distance(one: Floats, other: Floats) -> float:
    """Return the Kolmogorov-Smirnov distance, 0-1: the widest gap between two empirical distribution functions.

    Args:
        one: (n,) float, in any order.
        other: (m,) float.

    Returns:
        0 where both are empty, 1 where one is.
    """
    if not one.size or not other.size:
        return float(one.size != other.size)
    places = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(values), places, side="right") / values.size for values in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def beyond_chance(n: int, m: int) -> float:
    """Return the distance that two samples of one distribution exceed once in 1,000 times, in any of four measures.

    The bound of Dvoretzky, Kiefer, Wolfowitz and Massart for two samples, P(distance > d) <= 2 exp(-2 d^2 n m / (n + m))
    (Wei & Dudley 2012, "Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities", Statistics & Probability Letters 82: proved
    for large samples of one size, nearly so for others), shared among the measures (Bonferroni): 0.21 for 200 images
    each, 0.05 for 4,000. Simulated on four measures it is exceeded in 0.02 % (50 or 200 images each) to 0.1 % (500 and
    2,000). Two manifests that share images lie nearer to each other than two samples do, so the limit is careful.

    Args:
        n: images then.
        m: images now.

    Returns:
        The limit, 0-1; 1, which no distance exceeds, where there are no images.
    """
    if not n or not m:
        return 1.0
    return min(math.sqrt(math.log(2 * len(MEASURES) / ALPHA) * (n + m) / (2 * n * m)), 1.0)
