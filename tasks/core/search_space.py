"""What a search may change of a profile: the figures, the values that each may take, and the way between both.

In: a profile and what the user set. Out: the space, and figures at places in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tasks.core.errors import CatalogError
from tasks.core.profile import Profile

#: Learning rates between one and ten times it: neighbours are 10 % apart.
_PER_DECADE = 25
#: Values that are listed one by one.
_LISTED = 10

#: A figure that was searched: units, shares and rates are numbers, the rest are words.
Figure: TypeAlias = float | int | str


@dataclass(frozen=True, slots=True)
class Choice:
    """A figure that takes one of some values, in an order in which neighbours are alike."""

    name: str
    values: tuple[Figure, ...]

    def sentence(self) -> str:
        """Return the values for people; of many numbers, the ends."""
        if len(self.values) > _LISTED:
            return f"{self.values[0]} to {self.values[-1]} in {len(self.values)} steps"
        return ", ".join(map(str, self.values))


def search_space(profile: Profile, held: Collection[str] = ()) -> tuple[Choice, ...]:
    """Return the figures that are searched.

    | figure | why |
    |---|---|
    | dense_units | how much the head can learn; half the profile's, or twice: more cost most and gained nothing (docs/LOG.md) |
    | dropout | how much it is kept from that |
    | learning_rate | decides most; a tenth to ten times the profile's, for heads and tails differ widely |
    | learning_rate_schedule | whether the last epochs settle |
    | class_weights | whether the scarcer class counts as much as the other |

    Epochs, steps and batch size are what a training costs: the profile, or `--set`, decides that. A batch of half the
    size does what half the learning rate does (Smith et al. 2018, "Don't decay the learning rate, increase the
    batch size"). Early stopping saves time and no more.

    Args:
        profile: that is searched from.
        held: figures that stay as they are: those that the user set.

    Raises:
        CatalogError: nothing is left to search.
    """
    units = profile.dense_units
    space = (
        Choice("dense_units", tuple(sorted({max(1, units // 2), units, units * 2}))),
        Choice("dropout", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
        Choice("learning_rate", tuple(_rate(profile, n) for n in range(-_PER_DECADE, _PER_DECADE + 1))),
        Choice("learning_rate_schedule", ("constant", "cosine")),
        Choice("class_weights", ("none", "balanced")),
    )
    left = tuple(figure for figure in space if figure.name not in held)
    if not left:
        raise CatalogError(
            "Nothing is left to search: a figure that is set is not searched.",
            where="--set",
            expected=f"at most {len(space) - 1} of {', '.join(figure.name for figure in space)}",
            received="all of them",
            fix="leave out the --set of what shall be searched",
        )
    return left


def check_searchable(key: str, profile: Profile) -> None:
    """See that a profile trains on what is cached, for every trial reads it again.

    Args:
        key: of the profile.
        profile: with what the user set.

    Raises:
        CatalogError: it augments while it trains, or learns from a teacher.
    """
    if not profile.augmentation.is_none() and not profile.augmentation_variants:
        raise CatalogError(
            f"The profile '{key}' augments its images while it trains: each trial would send all of them through "
            "the backbone again.",
            where=f"profile '{key}', key augmentation_variants",
            expected="at least 1 cached variant of each image",
            received="augmentation_variants = 0",
            fix="--set augmentation_variants=5, or a profile without augmentation",
        )
    if profile.teacher is not None:
        raise CatalogError(
            f"The profile '{key}' learns from the scores of '{profile.teacher}': a search knows labels only.",
            where=f"profile '{key}', key teacher",
            expected="a profile that learns from labels",
            received=f'teacher = "{profile.teacher}"',
            fix="search with a profile without a teacher, and train this one with what it finds",
        )


def own_figures(profile: Profile, space: Sequence[Choice]) -> dict[str, Figure]:
    """Return what the searched figures are in the profile as it is."""
    return {figure.name: getattr(profile, figure.name) for figure in space}


def place_of(figures: Mapping[str, Figure], space: Sequence[Choice]) -> dict[str, int] | None:
    """Return the place of each figure among its values; None where one is not among them. `figures_at` is the way back."""
    if any(figures[figure.name] not in figure.values for figure in space):
        return None
    return {figure.name: figure.values.index(figures[figure.name]) for figure in space}


def figures_at(place: Mapping[str, int], space: Sequence[Choice]) -> dict[str, Figure]:
    """Return the figures at a place."""
    return {figure.name: figure.values[place[figure.name]] for figure in space}


def _rate(profile: Profile, steps: int) -> Figure:
    """Return the learning rate so many steps above the profile's, in three digits, which a command can say in full."""
    return (
        float(f"{profile.learning_rate * 10 ** (steps / _PER_DECADE):.3g}")
        if steps
        else profile.learning_rate
    )
