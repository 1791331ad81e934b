"""`radtrain ablate`: what each lever between the profiles intensive and fast gains, measured beside what was claimed."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from flows.commands.options import Commands, add_data_options, add_run_options, setting, whole
from flows.commands.run_flow import check_request, join_stack, places, run_flow
from flows.output import write

if TYPE_CHECKING:
    from prefect import Flow


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "ablate", help="measure what each lever between the profiles intensive and fast gains"
    )
    parser.add_argument("--quick", action="store_true", help="a few steps of each, once: rough figures soon")
    parser.add_argument("--disease", metavar="KEY", help="this one (that with the most training images)")
    parser.add_argument(
        "--epochs", type=whole(1, 10_000), metavar="N", help="at most so many of each recipe's epochs"
    )
    parser.add_argument(
        "--steps", type=whole(1, 1_000_000), metavar="N", help="at most so many steps in an epoch"
    )
    add_data_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Measure as said, print the tables, and return the exit code.

    Raises:
        RadtrainError: nothing could be measured.
    """
    from tasks.core.levers import GOAL, START

    settings = join_stack(os.environ, data=said.data, home=said.home, catalog=said.catalog)
    overrides = dict(setting(text) for text in said.set)
    diseases = [said.disease] if said.disease else None
    for profile in (START, GOAL):
        check_request(settings, profile, diseases=diseases, overrides=overrides)
    ablation = run_flow(
        _speed_ablation,
        settings,
        diseases=1,
        counting="recipes",
        parameters={
            "disease": said.disease,
            "quick": said.quick,
            "epochs": said.epochs,
            "steps": said.steps,
            "seed": said.seed,
            "overrides": overrides,
            **places(settings),
        },
    )
    if said.json:
        write(json.dumps(ablation.to_json(), allow_nan=False))
        return 0
    from flows.ablation_view import show_ablation
    from tasks.core.addresses import without_secret

    folder = str(settings.home / "runs" / ablation.run_id)
    show_ablation(ablation, folder=folder, tracking_uri=without_secret(settings.tracking_uri))
    return 0


def _speed_ablation() -> Flow[..., Any]:
    from flows.speed_ablation import speed_ablation

    return speed_ablation
