"""`radtrain check`: is the data of every disease fit to be trained on? Without a server and without Prefect's tasks.

With `--fix` the catalog is mended by what the findings are certain of, and the data is looked at once more.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.commands.options import Commands, add_data_options, add_disease_option
from flows.output import write
from tasks.core.errors import ChecksFailed, StorageError
from tasks.core.settings import Settings, read_settings

if TYPE_CHECKING:
    from tasks.plan_check import Look


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "check", help="look at the data of every disease before anything is trained, and say what mends it"
    )
    add_disease_option(parser)
    add_data_options(parser)
    parser.add_argument("--home", metavar="DIR", help="folder for facts and manifests (RADTRAIN_HOME)")
    parser.add_argument("--html", metavar="FILE", help="write a page with thumbnails; it needs no network")
    parser.add_argument(
        "--fix",
        action="store_true",
        help="show and write the lines that mend your catalog (--catalog, new or not), then check again",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Check as said, show what was found, and return the exit code: that of failed checks, or 0."""
    settings = read_settings(os.environ, data=said.data, home=said.home, catalog=said.catalog)
    is_new = said.fix and settings.catalog is not None and not settings.catalog.exists()
    look = _plan_check(replace(settings, catalog=None) if is_new else settings, said.disease)
    page = _page_place(said.html) if said.html else None

    from tasks.files import prepare_home

    prepare_home(settings.home)

    from flows.terminal import following, show_check, show_difference
    from flows.validate_data import as_function, check_images

    with following(0):
        report = check_images(look, step=as_function).report
    mends = [finding.mend for verdict in report.verdicts for finding in verdict.findings if finding.mend]
    if said.fix and mends:
        from tasks.mend_catalog import plan_mend, write_mend

        planned = plan_mend(settings.catalog, mends)
        show_difference(planned)
        write_mend(planned)
        look = _plan_check(settings, said.disease)
        with following(0):
            report = check_images(look, step=as_function).report
    if page is not None:
        from tasks.publish_check import draw_page

        draw_page(look, report, page)
    if said.json:
        write(json.dumps(report.to_json()))
    else:
        show_check(report, page)
    return ChecksFailed.exit_code if report.failed() else 0


def _page_place(said: str) -> Path:
    """Return where the page is to be written; found out before the images are read, not after."""
    page = Path(os.path.expanduser(said)).absolute()
    if os.path.isdir(page):
        raise StorageError(
            "The page cannot be written.",
            where=page,
            expected="a file",
            received="a folder",
            fix=f"name a file in it: --html {page / 'check.html'}",
        )
    return page


def _plan_check(settings: Settings, diseases: list[str] | None) -> Look:
    from tasks.core.catalog import load_catalog
    from tasks.plan_check import plan_check

    return plan_check(load_catalog(settings.catalog), diseases, settings)
