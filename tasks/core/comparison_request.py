"""What may be asked of a comparison: two different profiles, and names that can be keys."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.core.catalog import KEY
from tasks.core.errors import ComparisonRefused


def check_words(first: str, second: str, diseases: Iterable[str] | None) -> None:
    """See that two different profiles are named, and that all names can be keys of a catalog.

    Raises:
        ComparisonRefused: they are not.
    """
    if first == second:
        raise ComparisonRefused(
            "A profile is to be compared with itself.",
            expected="two different profiles",
            received=f"{first} twice",
            fix=f"name another one: radtrain compare {first} OTHER; several seeds of one profile are taken together",
        )
    for word in (first, second, *(diseases or ())):
        if not KEY.fullmatch(word):
            raise ComparisonRefused(
                "A name is not the key of a profile or disease.",
                expected="small letters, digits and _",
                received=repr(word),
                fix="name profiles and diseases as the catalog does: radtrain compare fast intensive",
            )
