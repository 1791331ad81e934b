"""`radtrain up`: a Prefect server, an MLflow server and a worker on this machine, with every deployment registered."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

from flows.commands.options import Commands, add_data_options, add_home_option, whole
from flows.output import write
from tasks.core.settings import read_settings


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "up", help="start servers and worker on this machine, and register the deployments"
    )
    add_data_options(parser)
    add_home_option(parser)
    parser.add_argument(
        "--prefect-port", type=whole(1, 65535), metavar="PORT", help="(RADTRAIN_PREFECT_PORT, or 4200)"
    )
    parser.add_argument(
        "--mlflow-port", type=whole(1, 65535), metavar="PORT", help="(RADTRAIN_MLFLOW_PORT, or 5000)"
    )
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Start what does not run, print where it is, and return the exit code."""
    from infra.services import running
    from infra.stack import up

    settings = read_settings(os.environ, data=said.data, home=said.home, catalog=said.catalog)
    settings.require_data()
    there = running(settings.home).services
    ports = {"prefect_port": said.prefect_port, "mlflow_port": said.mlflow_port}
    for name in ("prefect", "mlflow"):
        if name in there and ports[f"{name}_port"] is None:
            ports[f"{name}_port"] = there[name].port
    settings = replace(settings, **{name: port for name, port in ports.items() if port is not None})
    stack = up(settings, os.environ, say=lambda line: print(line, file=sys.stderr))
    for name, link in stack.links().items():
        write(f"{name:<9}{link}")
    for name, value in stack.environment().items():
        write(f"export {name}={value}")
    write("prefect deployment run train-all/fast --watch")
    return 0
