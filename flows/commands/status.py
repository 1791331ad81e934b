"""`radtrain status`: what of the stack runs and answers, where it is, and the shell lines that lead to it."""

from __future__ import annotations

import argparse
import json
import os
import shlex

from flows.commands.options import Commands, add_home_option
from flows.output import write
from tasks.core.errors import ServerError
from tasks.core.settings import read_settings


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("status", help="what of the stack runs, and where")
    add_home_option(parser)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--env", action="store_true", help="print shell lines for `prefect` and `mlflow`")
    shown.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Print the state of every part, and return 0 if all of them answer.

    Raises:
        ServerError: with `--env`, where the servers do not run.
    """
    from infra.services import NAMES, running

    home = read_settings(os.environ, home=said.home).home
    stack = running(home)
    if said.env:
        if not {"prefect", "mlflow"} <= set(stack.services):
            raise ServerError(
                "The stack of this home folder does not run.",
                where=home,
                expected="a Prefect server and an MLflow server that radtrain up started",
                received=", ".join(stack.services) or "none",
                fix="radtrain up",
            )
        for name, value in stack.environment().items():
            write(f"export {name}={shlex.quote(value)}")
        return 0
    states = {
        name: "down"
        if name not in stack.services
        else ("up" if stack.services[name].is_healthy() else "does not answer")
        for name in NAMES
    }
    if said.json:
        found = {
            name: {"state": state, "url": one.url if (one := stack.services.get(name)) else None}
            for name, state in states.items()
        }
        write(json.dumps({"home": str(home), "services": found}))
    else:
        for name, state in states.items():
            one = stack.services.get(name)
            write(f"{name:<9}{state:<17}{f'{one.url}  process {one.process.pid}' if one else ''}".rstrip())
    return 0 if set(states.values()) == {"up"} else ServerError.exit_code
