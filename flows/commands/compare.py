"""`radtrain compare`: what two profiles come to on the same test images, with interval, price and a verdict."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.commands.options import Commands, add_disease_option
from flows.commands.run_flow import join_stack, places, run_flow
from flows.output import write
from tasks.core.errors import StorageError

if TYPE_CHECKING:
    from prefect import Flow


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "compare", help="say for every disease which of two profiles to use, from their last completed runs"
    )
    parser.add_argument("first", metavar="FIRST", help="a profile that was trained, such as fast")
    parser.add_argument("second", metavar="SECOND", help="another one, such as intensive")
    add_disease_option(parser)
    parser.add_argument(
        "--html", metavar="FILE", help="write the page here instead of the home folder; it needs no network"
    )
    parser.add_argument(
        "--data", metavar="DIR", help="the data root, for pictures that the cache has lost (RADTRAIN_DATA)"
    )
    parser.add_argument("--home", metavar="DIR", help="folder for caches, runs and databases (RADTRAIN_HOME)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Compare as said, show the verdicts, and return the exit code."""
    settings = join_stack(os.environ, data=said.data, home=said.home)
    page = _page_place(said.html) if said.html else None

    from tasks.core.comparison_request import check_words

    check_words(said.first, said.second, said.disease)
    where = places(settings)
    published = run_flow(
        _compare_profiles,
        settings,
        diseases=0,
        counting="diseases",
        parameters={
            "first": said.first,
            "second": said.second,
            "diseases": said.disease,
            "html": str(page) if page else None,
            **{name: where[name] for name in ("data", "home", "tracking_uri")},
        },
    )
    if said.json:
        write(json.dumps(published.to_json()))
    else:
        from flows.show_comparison import show_comparison

        show_comparison(published)
    return 0


def _page_place(said: str) -> Path:
    """Return where the page is to be written; found out before anything is started, not after.

    Raises:
        StorageError: it is a folder, or is in none, or in one that cannot be written.
    """
    page = Path(os.path.expanduser(said)).absolute()
    received = None
    if os.path.isdir(page):
        received = "a folder"
    elif not os.path.isdir(page.parent):
        received = "a file in a folder that is not there"
    elif not os.access(page if os.path.exists(page) else page.parent, os.W_OK):
        received = "a place that you may not write"
    if received is None:
        return page
    raise StorageError(
        "The page cannot be written.",
        where=page,
        expected="a file in a folder that can be written",
        received=received,
        fix="name another file: --html FILE",
    )


def _compare_profiles() -> Flow[..., Any]:
    from flows.compare_profiles import compare_profiles

    return compare_profiles
