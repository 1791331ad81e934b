"""`radtrain cache`: what is cached of pixels and features, and the removing of it."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from flows.commands.options import Commands, whole
from flows.output import write
from tasks.core.errors import StorageError
from tasks.core.settings import read_settings

if TYPE_CHECKING:
    from tasks.cache import SpaceUse


def add(commands: Commands) -> None:
    """Add the command with its two actions and their options."""
    parser = commands.add_parser("cache", help="list or prune cached pixels and features")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what is cached: kind, rows, size, days since it was used")
    listing.set_defaults(run=run_list)
    pruning = actions.add_parser("prune", help="remove cached rows; they are computed again when needed")
    what = pruning.add_mutually_exclusive_group(required=True)
    what.add_argument("--idle-days", type=whole(0, 100_000), metavar="N", help="what was not used for N days")
    what.add_argument(
        "--space", action="append", metavar="ID", help="this one, as `radtrain cache list` says it"
    )
    what.add_argument("--all", action="store_true", help="everything")
    pruning.set_defaults(run=run_prune)
    for action in (listing, pruning):
        action.add_argument("--home", metavar="DIR", help="the home folder (RADTRAIN_HOME)")
        action.add_argument("--json", action="store_true", help="print JSON")


def run_list(said: argparse.Namespace) -> int:
    """Show every space of the cache."""
    from tasks.cache import list_spaces

    spaces = list(list_spaces(read_settings(os.environ, home=said.home).home / "cache"))
    show_spaces(spaces, as_json=said.json, empty="The cache is empty.")
    return 0


def run_prune(said: argparse.Namespace) -> int:
    """Remove the spaces that are said, and show them."""
    from tasks.cache import list_spaces, prune

    cache = read_settings(os.environ, home=said.home).home / "cache"
    known = [use.digest for use in list_spaces(cache)]
    strange = [space for space in said.space or () if space not in known]
    if strange:
        raise StorageError(
            f"There is no cache space '{strange[0]}'.",
            where=cache,
            expected=f"one of {', '.join(known)}" if known else "no space: the cache is empty",
            received=" ".join(strange),
            fix="see `radtrain cache list` for the spaces that there are",
        )
    gone = prune(cache, idle_days=said.idle_days or 0.0, digests=said.space or ())
    show_spaces(gone, as_json=said.json, empty="Nothing was removed.")
    return 0


def show_spaces(spaces: list[SpaceUse], *, as_json: bool, empty: str) -> None:
    """Print the spaces, or the JSON of them; `empty` says that there is none."""
    if as_json:
        keys = ("kind", "digest", "describes", "rows", "bytes", "idle_days")
        write(json.dumps([{key: getattr(use, key) for key in keys} for use in spaces]))
        return
    for use in spaces:
        about = ", ".join(
            f"{key} {value}" for key, value in use.describes.items() if key not in ("shape", "dtype")
        )
        write(
            f"{use.digest}  {use.kind:<8} {use.rows:>8} rows {use.bytes / 2**20:>9.1f} MiB  unused {use.idle_days:.1f} d"
        )
        write(f"    {about}")
    if not spaces:
        write(empty)
