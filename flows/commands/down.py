"""`radtrain down`: end what `radtrain up` started, and nothing else."""

from __future__ import annotations

import argparse
import os
import sys

from flows.commands.options import Commands, add_home_option
from flows.output import write
from tasks.core.settings import read_settings


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("down", help="end the servers and the worker that `radtrain up` started")
    add_home_option(parser)
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """End them, say which, and return the exit code."""
    from infra.stack import down

    settings = read_settings(os.environ, home=said.home)
    ended = down(settings, os.environ, say=lambda line: print(line, file=sys.stderr))
    write(f"stopped: {', '.join(ended)}" if ended else "nothing ran")
    return 0
