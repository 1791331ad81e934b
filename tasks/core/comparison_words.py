"""Figures of a comparison as they are written on its page: shares, points, times, sizes, p-values.

In: numbers that are known and finite. Out: text.
"""

from __future__ import annotations

#: Seconds up to which a time is written in seconds, and in minutes.
_IN_SECONDS, _IN_MINUTES = 600, 7200


def share(value: float) -> str:
    """Write a share of 1, such as an AUROC."""
    return f"{value:.3f}"


def span(low: float | None, high: float | None) -> str:
    """Write an interval of a share."""
    return "no interval" if low is None or high is None else f"{share(low)} to {share(high)}"


def points(value: float) -> str:
    """Write a difference of shares in hundredths, with its sign."""
    rounded = round(100 * value, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def duration(seconds: float) -> str:
    """Write a time with three digits or so."""
    if seconds < _IN_SECONDS:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < _IN_MINUTES else f"{seconds / 3600:,.1f} h"


def size(count: int) -> str:
    """Write a number of bytes."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count} bytes"


def p_value(value: float | None) -> str:
    """Write a p-value with two digits; empty where there is none."""
    return "" if value is None else f"{value:.2g}"
