"""`radtrain train`: a classifier for every disease. And the training itself, for commands that find their data elsewhere."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from flows.commands.options import (
    Commands,
    add_data_options,
    add_disease_option,
    add_run_options,
    minutes,
    setting,
)
from flows.commands.run_flow import check_request, join_stack, places, run_flow
from flows.output import write
from tasks.core.settings import Settings

if TYPE_CHECKING:
    from prefect import Flow


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "train", help="train and evaluate a classifier for every disease of the catalog"
    )
    parser.add_argument("profile", help="how: a profile of the catalog, such as fast")
    add_disease_option(parser)
    add_data_options(parser)
    add_run_options(parser)
    parser.add_argument(
        "--time-limit", type=minutes, metavar="MINUTES", help="take fewer steps, so that the run fits"
    )
    parser.add_argument(
        "--training-limit",
        type=minutes,
        metavar="MINUTES",
        help="end a training that takes longer, and try it once more (ten times what is expected)",
    )
    parser.add_argument("--force", action="store_true", help="train again what has not changed since a run")
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Train as said, and return the exit code."""
    settings = join_stack(os.environ, data=said.data, home=said.home, catalog=said.catalog)
    return train(
        said,
        settings,
        profile=said.profile,
        diseases=said.disease,
        time_limit=said.time_limit,
        training_limit=said.training_limit,
        force=said.force,
    )


def train(
    said: argparse.Namespace,
    settings: Settings,
    *,
    profile: str,
    diseases: list[str] | None,
    time_limit: float | None = None,
    training_limit: float | None = None,
    force: bool = False,
) -> int:
    """Run the flow `train-all`, print its report, and return the exit code.

    Args:
        said: the options of `add_run_options`.
        settings: where things are, whatever the words say.
        profile: key of the catalog.
        diseases: keys of the catalog; None for all.
        time_limit: minutes that the run may take; None for no limit.
        training_limit: minutes after which one training is ended; None for many times what is expected.
        force: train again what has not changed.

    Raises:
        RadtrainError: nothing could be trained.
    """
    overrides = dict(setting(text) for text in said.set)
    wanted = check_request(settings, profile, diseases=diseases, overrides=overrides)
    report = run_flow(
        _train_all,
        settings,
        diseases=len(wanted),
        parameters={
            "profile": profile,
            "diseases": diseases,
            "seed": said.seed,
            "overrides": overrides,
            "time_limit": time_limit,
            "training_limit": training_limit,
            "force": force,
            **places(settings),
        },
    )
    if said.json:
        write(json.dumps(report.to_json()))
    else:
        from flows.terminal import show_report

        show_report(report)
    return report.exit_code()


def _train_all() -> Flow[..., Any]:
    from flows.train_all import train_all

    return train_all
