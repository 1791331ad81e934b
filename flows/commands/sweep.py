"""`radtrain sweep`: better figures of a profile, searched on cached features; test rows stay unread."""

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
    setting,
    whole,
)
from flows.commands.run_flow import check_request, join_stack, places, run_flow
from flows.output import write

if TYPE_CHECKING:
    from prefect import Flow

#: Trials that take as long as one training, which the time left is guessed in before any was measured.
_TRIALS_PER_TRAINING = 3


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("sweep", help="search better figures of a profile for every disease")
    parser.add_argument("profile", help="what is searched from: a profile of the catalog, such as fast")
    parser.add_argument(
        "--trials", type=whole(2, 10_000), default=100, metavar="N", help="of each disease (100)"
    )
    add_disease_option(parser)
    add_data_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Search as said, print what was found, and return the exit code.

    Raises:
        RadtrainError: nothing could be searched.
    """
    settings = join_stack(os.environ, data=said.data, home=said.home, catalog=said.catalog)
    overrides = dict(setting(text) for text in said.set)
    wanted = check_request(settings, said.profile, diseases=said.disease, overrides=overrides)

    from tasks.core.catalog import load_catalog
    from tasks.core.search_space import check_searchable, search_space

    figures = load_catalog(settings.catalog).profile(said.profile, overrides)
    check_searchable(said.profile, figures)
    search_space(figures, list(overrides))
    report = run_flow(
        _sweep,
        settings,
        diseases=-(-len(wanted) * said.trials // _TRIALS_PER_TRAINING),
        counting="trials",
        parameters={
            "profile": said.profile,
            "diseases": said.disease,
            "trials": said.trials,
            "seed": said.seed,
            "overrides": overrides,
            **places(settings),
        },
    )
    if said.json:
        write(json.dumps(report.to_json(), allow_nan=False))
    else:
        from flows.show_sweep import show_sweep

        show_sweep(report)
    return report.exit_code()


def _sweep() -> Flow[..., Any]:
    from flows.sweep import sweep

    return sweep
