"""`radtrain doctor`: what this machine has and lacks. It must also speak where packages are missing."""

from __future__ import annotations

import argparse
import os

from flows.commands.options import Commands, add_data_options
from tasks.core.settings import read_settings


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "doctor", help="look at this machine: packages, weights, disk, servers, threads, each with its remedy"
    )
    add_data_options(parser)
    parser.add_argument("--home", metavar="DIR", help="the home folder (RADTRAIN_HOME)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Look at the machine, show what is there, and return the exit code: that of the gravest failure, or 0."""
    from flows.doctor import show_doctor
    from tasks.core.diagnosis import exit_code
    from tasks.diagnose_setup import diagnose

    settings = read_settings(os.environ, data=said.data, home=said.home, catalog=said.catalog)
    lines = diagnose(settings, os.environ)
    show_doctor(lines, as_json=said.json)
    return exit_code(lines)
