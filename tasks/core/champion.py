"""The champion of a disease: the model to use until another one is shown to be better, or as good at a lower price.

In: a comparison, and which profile the champion is of. Out: the profile that it should be of.
"""

from __future__ import annotations

from tasks.core.comparison import DiseaseComparison
from tasks.core.verdict import price_of


def choose(one: DiseaseComparison, standing: str | None) -> str | None:
    """Return the profile that the champion of a disease is of after a comparison.

    | decision   | champion |
    |------------|----------|
    | better     | of the profile that is better |
    | equivalent | of the cheaper profile; where prices are alike or unknown, as before |
    | not_shown  | as before; the first time, of the cheaper profile, for nothing was shown that is worth the price |
    | undefined  | as before |

    A champion of a profile that is not compared stands. Where nothing tells two profiles apart, the first one is taken.

    Args:
        one: the disease.
        standing: profile of the champion so far; None where there is none.
    """
    compared = [side.profile for side in one.sides]
    if one.decision == "undefined" or (standing is not None and standing not in compared):
        return standing
    if one.decision == "better":
        return one.better
    if one.decision == "not_shown" and standing is not None:
        return standing
    return price_of(*one.sides).cheaper or standing or compared[0]
