"""The operating point: the threshold that turns a score into a yes or no.

Stands between train and evaluate: labels and scores of the validation rows in, one frozen record out. Test rows
never come here: a threshold that was chosen on them flatters itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tasks.core.curves import check_labels_and_scores, roc_curve

ROUNDING = 1e-9  # 0.7 * 10 is 7.000000000000001: such a wish asks for 7 positives, not for 8.


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and what it did on the validation rows it was chosen on (`score >= threshold` is positive).

    Attributes:
        threshold: 0-1.
        wanted_sensitivity: what was asked for, above 0 and at most 1.
        sensitivity: reached on validation, at least the wanted one.
        specificity: reached on validation.
        n: validation images.
        n_positive: positives among them.
    """

    threshold: float
    wanted_sensitivity: float
    sensitivity: float
    specificity: float
    n: int
    n_positive: int


def choose_operating_point(
    labels: ArrayLike, scores: ArrayLike, *, wanted_sensitivity: float
) -> OperatingPoint:
    """Choose the highest threshold that finds at least the wanted share of the validation positives.

    The threshold lies halfway between the lowest score that must count as positive and the next lower one (0 where
    there is none), so that it is not glued to one image: a change in the last digit of that image's score, on another
    machine, say, must not turn its answer.

    Args:
        labels: (n,) 0 or 1, validation rows.
        scores: (n,) float, 0-1, validation rows.
        wanted_sensitivity: above 0, at most 1.

    Returns:
        The operating point, with sensitivity and specificity on these rows.

    Raises:
        ValueError: bad input, a class without rows, or a wanted sensitivity outside (0, 1].
    """
    y, s = check_labels_and_scores(labels, scores)
    if not 0 < wanted_sensitivity <= 1:
        raise ValueError(
            f"Expected a wanted sensitivity above 0 and at most 1, received {wanted_sensitivity}. 0.95 is a share, 95 is not."
        )
    positives = int(y.sum())
    for name, count in (("positive", positives), ("negative", y.size - positives)):
        if count == 0:
            raise ValueError(
                f"Expected at least one {name} validation image, received 0 of {y.size}. "
                f"Add {name} patients or give validation a larger share of the split."
            )
    curve = roc_curve(y, s)
    wanted = wanted_sensitivity * positives - ROUNDING
    index = int(np.argmax(curve.sensitivity * positives >= wanted))
    last = index + 1 == curve.thresholds.size
    threshold = _between(0.0 if last else float(curve.thresholds[index + 1]), float(curve.thresholds[index]))
    return OperatingPoint(
        threshold=threshold,
        wanted_sensitivity=float(wanted_sensitivity),
        sensitivity=float(curve.sensitivity[index]),
        specificity=float(1 - curve.false_positive_rate[index]),
        n=y.size,
        n_positive=positives,
    )


def _between(lower: float, upper: float) -> float:
    """Return the middle of two scores, above the lower one (unless they are equal) and at most the upper one.

    NumPy 2 rounds a Python float to float32 before it compares it with float32 scores (NEP 50). A middle of two
    neighbouring float32 scores would round down onto the lower one and count it too; so a middle that float32 can
    hold is preferred, then the upper score itself.
    """
    middle = (lower + upper) / 2
    rounded, top = float(np.float32(middle)), float(np.float32(upper))
    candidates = (rounded, top, middle)
    return next((one for one in candidates if lower < one <= upper), upper)
