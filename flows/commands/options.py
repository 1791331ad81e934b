"""Options that several commands have, and the readers of their values."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, TypeAlias

from tasks.core.errors import CatalogError

#: What a command adds itself to: argparse gives the type no public name.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_disease_option(parser: argparse.ArgumentParser) -> None:
    """Add `--disease`: None, or a list of keys."""
    parser.add_argument("--disease", action="append", metavar="KEY", help="only this one; may be said again")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add `--data` and `--catalog`."""
    parser.add_argument("--data", metavar="DIR", help="the data root (RADTRAIN_DATA)")
    parser.add_argument(
        "--catalog", metavar="DIR", help="folder with your own catalog files (RADTRAIN_CATALOG)"
    )


def add_home_option(parser: argparse.ArgumentParser) -> None:
    """Add `--home`."""
    parser.add_argument("--home", metavar="DIR", help="folder for caches, runs and databases (RADTRAIN_HOME)")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add `--home`, `--seed`, `--set` (a list, each for `setting`) and `--json`."""
    add_home_option(parser)
    parser.add_argument(
        "--seed",
        type=whole(0, 2**31 - 1),
        default=0,
        metavar="N",
        help="of weights, batches, dropout, resampling (0)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a figure of the profile"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def setting(text: str) -> tuple[str, Any]:
    """Return the name and the value of `--set NAME=VALUE`; a value is TOML, or else plain text.

    Raises:
        CatalogError: there is no name, or no `=`.
    """
    import tomllib

    name, mark, value = text.partition("=")
    if not mark or not name:
        raise CatalogError(
            "A --set was not understood.",
            where="--set",
            expected="KEY=VALUE, for example epochs=10",
            received=text,
            fix="put an = between the figure's name and its value",
        )
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers in a range, for `type=` of an option."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most}, received {text!r}"
            )
        return int(text)

    return number


def minutes(text: str) -> float:
    """Read a time in minutes, above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected minutes above 0, such as 10 or 0.5, received {text!r}")
    return number
