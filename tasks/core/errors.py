"""What a user can do wrong or lack, as exceptions that say how to mend it.

Every user error is a `RadtrainError`: no traceback, a documented exit code, and a text that says
what, where, expected, received and what to do. Faults of the program itself are any other exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RadtrainError(Exception):
    """A fault that the user can mend.

    Args:
        what: what is wrong, one sentence.
        where: the file, table, folder or address it is wrong in.
        expected: what would have been right.
        received: what is there.
        fix: the command or line that mends it.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        fix: str,
        where: object = None,
        expected: object = None,
        received: object = None,
    ) -> None:
        said = {"where": where, "expected": expected, "received": received, "fix": fix}
        self.what = what
        self.fix = fix
        lines = [f"  {key + ':':<10}{value}" for key, value in said.items() if value is not None]
        super().__init__("\n".join([what, *lines]))

    def __reduce__(self) -> tuple:
        """Survive the way from a worker process: rebuilt from its text, not from its arguments."""
        return _rebuilt, (type(self), str(self), self.what, self.fix)


class CatalogError(RadtrainError):
    """The catalog, or something named from it (a disease, a profile, a `--set`), is wrong."""

    exit_code = 10


class ChecksFailed(RadtrainError):
    """The data of at least one disease did not pass the checks."""

    exit_code = 11


class DataNotFound(RadtrainError):
    """The data root, or every source folder below it, is not there."""

    exit_code = 12


class TrackingError(RadtrainError):
    """MLflow cannot be reached or written."""

    exit_code = 13


class WeightsNotFound(RadtrainError):
    """The backbone's weights are neither here nor to be fetched, or are not those of this backbone."""

    exit_code = 14


class StorageError(RadtrainError):
    """`RADTRAIN_HOME` cannot be written: no permission, no space, or something else in its place."""

    exit_code = 15


class ServerError(RadtrainError):
    """The Prefect server that was named does not answer, or a temporary one could not be started."""

    exit_code = 16


class ComparisonRefused(RadtrainError):
    """Of the runs that were asked for, none can be compared."""

    exit_code = 17


class TimeLimitTooShort(RadtrainError):
    """Not even one step of training in each epoch fits a time limit."""

    exit_code = 18


class AlreadyRunning(RadtrainError):
    """Another run is at the same work."""

    exit_code = 19


EXIT_CODES: dict[int, str] = {
    0: "all that was asked for was done, or passed",
    1: "a disease failed in training or evaluation",
    2: "the command line was not understood",
    10: "catalog: a TOML file, profile, disease or --set is wrong",
    11: "data checks failed for at least one disease; the others were finished",
    12: "data not found",
    13: "tracking: MLflow cannot be reached or written",
    14: "backbone weights not found",
    15: "storage: the home folder cannot be written, or the disk is full",
    16: "the Prefect server does not answer",
    17: "comparison: the runs that were asked for cannot be compared",
    18: "time limit: not even one step of training fits",
    19: "another run is at the same work",
    130: "stopped by the user",
}


def did_you_mean(said: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'fast'?"`, or an empty text where nothing known is near."""
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(said.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean '{by_folded[near[0]]}'?" if near else ""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _rebuilt(kind: type[RadtrainError], text: str, what: str, fix: str) -> RadtrainError:
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    error.what, error.fix = what, fix
    return error
