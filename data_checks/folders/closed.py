"""Folders that the user who runs the check may not enter: said as such, for what lies behind them only seems to be missing.

In: the folders of a source that were not found. Out: a fault without a mend, so that no catalog is changed for a want of
permission.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from data_checks.findings import Finding
from data_checks.folders.mends import Fault
from data_checks.folders.names import shown, written
from data_checks.folders.resolver import Lookup, deepest


def closed_fault(look: Lookup, disease: str, name: str, missing: Iterable[str]) -> Fault | None:
    """Return the fault that a folder on the way to one of those missing may not be entered; None where all may.

    Args:
        look: the folders.
        disease: key of the catalog.
        name: what to call the source in a text that may be tracked.
        missing: paths that were looked for.
    """
    reached = dict.fromkeys(deepest(look, place)[0] for place in missing if not look.is_there(place))
    closed = [
        place for place in reached if look.is_there(place) and not os.access(look.root / place, os.X_OK)
    ]
    if not closed:
        return None
    said = ", ".join("the data root" if place == "." else shown(place) for place in closed)
    return Fault(
        Finding(
            disease,
            "source_missing",
            "fail",
            f"A folder on the way to {name} may not be entered: permission is denied.",
            f"give the user who runs radtrain permission to read and enter {said}",
            detail=f"{said} may not be entered.",
            count=len(closed),
            total=len(reached),
            places=tuple(map(written, closed)),
        )
    )
