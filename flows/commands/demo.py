"""`radtrain demo`: `radtrain train` on phantoms, which are drawn first. No data and no network needed."""

from __future__ import annotations

import argparse
import os
import sys

from flows.commands.options import Commands, add_run_options, whole
from flows.commands.train import train
from tasks.core.settings import read_settings


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "demo", help="draw phantoms of five diseases and train on them: no data, no network"
    )
    parser.add_argument(
        "--patients",
        type=whole(60, 10_000),  # fewer leave splits without both classes
        default=240,
        metavar="N",
        help="per disease, two images each: 60 to 10000 (240)",
    )
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Draw the phantoms that are not there yet, train on them, and return the exit code."""
    from flows.terminal import following
    from tasks.core.catalog import DEMO
    from tasks.core.phantoms import DISEASES, VERSION
    from tasks.draw_phantoms import write_phantoms
    from tasks.files import prepare_home

    home = read_settings(os.environ, home=said.home).home
    data = home / "demo" / f"phantoms-{said.patients}-version-{VERSION}"
    settings = read_settings({}, data=str(data), home=str(home), catalog=str(DEMO))
    prepare_home(settings.home)
    print(f"Synthetic phantoms of {said.patients} patients per disease, not radiographs:", file=sys.stderr)
    with following(len(DISEASES)):
        write_phantoms(data, patients=said.patients)
    return train(said, settings, profile="fast", diseases=None)
