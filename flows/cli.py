"""The command `radtrain`. Reads words, calls a flow, shows what came of it, and ends with a documented code.

Imports stand in the functions that need them, so that `radtrain --help` and every error answer at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.core.errors import EXIT_CODES, CatalogError, RadtrainError, StorageError
from tasks.core.settings import Settings, read_settings, silence


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    silence(os.environ)
    said = _parser().parse_args(words)
    try:
        return said.run(said)
    except RadtrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped. What was finished is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser = argparse.ArgumentParser(
        prog="radtrain",
        description="Folders of X-ray images in; validated, tracked, comparable disease classifiers out.",
        epilog=f"exit codes:\n{codes}\n\nNo model that this program makes is for diagnosis.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    train = commands.add_parser(
        "train", help="train and evaluate a classifier for every disease of the catalog"
    )
    train.add_argument("profile", help="how: a profile of the catalog, such as fast")
    train.add_argument("--disease", action="append", metavar="KEY", help="only this one; may be said again")
    train.add_argument("--data", metavar="DIR", help="the data root (RADTRAIN_DATA)")
    train.add_argument(
        "--catalog", metavar="DIR", help="folder with your own catalog files (RADTRAIN_CATALOG)"
    )
    _add_run_options(train)
    train.set_defaults(run=_train)

    check = commands.add_parser(
        "check", help="look at the data of every disease before anything is trained, and say what mends it"
    )
    check.add_argument("--disease", action="append", metavar="KEY", help="only this one; may be said again")
    check.add_argument("--data", metavar="DIR", help="the data root (RADTRAIN_DATA)")
    check.add_argument(
        "--catalog", metavar="DIR", help="folder with your own catalog files (RADTRAIN_CATALOG)"
    )
    check.add_argument("--home", metavar="DIR", help="folder for facts and manifests (RADTRAIN_HOME)")
    check.add_argument("--html", metavar="FILE", help="write a page with thumbnails; it needs no network")
    check.add_argument(
        "--fix",
        action="store_true",
        help="show and write the lines that mend your catalog (--catalog, new or not), then check again",
    )
    check.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    check.set_defaults(run=_check)

    doctor = commands.add_parser(
        "doctor", help="look at this machine: packages, weights, disk, servers, threads, each with its remedy"
    )
    doctor.add_argument("--data", metavar="DIR", help="the data root (RADTRAIN_DATA)")
    doctor.add_argument(
        "--catalog", metavar="DIR", help="folder with your own catalog files (RADTRAIN_CATALOG)"
    )
    doctor.add_argument("--home", metavar="DIR", help="the home folder (RADTRAIN_HOME)")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(run=_doctor)

    demo = commands.add_parser(
        "demo", help="draw phantoms of five diseases and train on them: no data, no network"
    )
    demo.add_argument(
        "--patients",
        type=_whole(60, 10_000),  # fewer leave splits without both classes
        default=240,
        metavar="N",
        help="per disease, two images each: 60 to 10000 (240)",
    )
    _add_run_options(demo)
    demo.set_defaults(run=_demo)

    cache = commands.add_parser("cache", help="list or prune cached pixels and features")
    actions = cache.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what is cached: kind, rows, size, days since it was used")
    listing.set_defaults(run=_list_cache)
    prune = actions.add_parser("prune", help="remove cached rows; they are computed again when needed")
    what = prune.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--idle-days", type=_whole(0, 100_000), metavar="N", help="what was not used for N days"
    )
    what.add_argument(
        "--space", action="append", metavar="ID", help="this one, as `radtrain cache list` says it"
    )
    what.add_argument("--all", action="store_true", help="everything")
    prune.set_defaults(run=_prune_cache)
    for action in (listing, prune):
        action.add_argument("--home", metavar="DIR", help="the home folder (RADTRAIN_HOME)")
        action.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", metavar="DIR", help="folder for caches, runs and databases (RADTRAIN_HOME)")
    parser.add_argument(
        "--seed",
        type=_whole(0, 2**31 - 1),
        default=0,
        metavar="N",
        help="of weights, batches, dropout, resampling (0)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a figure of the profile"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def _train(said: argparse.Namespace) -> int:
    settings = read_settings(os.environ, data=said.data, home=said.home, catalog=said.catalog)
    return _run_flow(said, settings, said.profile, said.disease)


def _check(said: argparse.Namespace) -> int:
    from tasks.core.errors import ChecksFailed

    settings = read_settings(os.environ, data=said.data, home=said.home, catalog=said.catalog)
    is_new = said.fix and settings.catalog is not None and not settings.catalog.exists()
    look = _plan_check(replace(settings, catalog=None) if is_new else settings, said.disease)
    page = _page_place(said.html) if said.html else None
    _prepare(settings)

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
        print(json.dumps(report.to_json()))
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


def _plan_check(settings: Settings, diseases: list[str] | None) -> Any:
    from tasks.core.catalog import load_catalog
    from tasks.plan_check import plan_check

    return plan_check(load_catalog(settings.catalog), diseases, settings)


def _doctor(said: argparse.Namespace) -> int:
    from flows.doctor import show_doctor
    from tasks.core.diagnosis import exit_code
    from tasks.diagnose_setup import diagnose

    settings = read_settings(os.environ, data=said.data, home=said.home, catalog=said.catalog)
    lines = diagnose(settings, os.environ)
    show_doctor(lines, as_json=said.json)
    return exit_code(lines)


def _demo(said: argparse.Namespace) -> int:
    from flows.terminal import following
    from tasks.core.catalog import DEMO
    from tasks.core.phantoms import DISEASES, VERSION
    from tasks.draw_phantoms import write_phantoms

    home = read_settings(os.environ, home=said.home).home
    data = home / "demo" / f"phantoms-{said.patients}-version-{VERSION}"
    settings = read_settings({}, data=str(data), home=str(home), catalog=str(DEMO))
    _prepare(settings)
    print(f"Synthetic phantoms of {said.patients} patients per disease, not radiographs:", file=sys.stderr)
    with following(len(DISEASES)):
        write_phantoms(data, patients=said.patients)
    return _run_flow(said, settings, "fast", None)


def _run_flow(said: argparse.Namespace, settings: Settings, profile: str, diseases: list[str] | None) -> int:
    overrides = dict(_setting(text) for text in said.set)
    wanted = _check_request(settings, profile, diseases, overrides)
    _prepare(settings)

    from flows.server import start_prefect_server
    from tasks.worker import start_worker

    # Three slow starts beside each other: the server, the worker's TensorFlow, and the imports here.
    wait_for_server = start_prefect_server(settings.home)
    with start_worker(settings.home / "logs" / "worker.log"):
        # Quiet on the console only: the server still gets every line.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        from flows.terminal import following, show_report
        from flows.train_all import train_all
        from tasks.core.report import DiseasesFailed
        from tasks.tracking import load_ahead

        load_ahead()
        wait_for_server()
        with following(len(wanted)):
            state: Any = train_all(
                profile=profile,
                diseases=diseases,
                seed=said.seed,
                overrides=overrides,
                data=str(settings.data) if settings.data else None,
                catalog=str(settings.catalog) if settings.catalog else None,
                home=str(settings.home),
                tracking_uri=settings.tracking_uri,
                return_state=True,  # pyright: ignore[reportCallIssue] - Prefect adds it
            )
    report = state.result(raise_on_failure=False)
    if isinstance(report, DiseasesFailed):
        report = report.report
    if isinstance(report, BaseException):
        raise report
    if said.json:
        print(json.dumps(report.to_json()))
    else:
        show_report(report)
    return report.exit_code()


def _check_request(
    settings: Settings, profile: str, diseases: list[str] | None, overrides: dict[str, Any]
) -> tuple[str, ...]:
    """Return the diseases wanted; a wrong word is answered at once, before any server or worker is started."""
    from tasks.core.catalog import load_catalog, require_frozen

    catalog = load_catalog(settings.catalog)
    require_frozen(profile, catalog.profile(profile, overrides))
    wanted = catalog.disease_keys(diseases)
    settings.require_data()
    return wanted


def _prepare(settings: Settings) -> None:
    from tasks.store import prepare_home

    prepare_home(settings.home)


def _list_cache(said: argparse.Namespace) -> int:
    from tasks.cache import list_spaces

    spaces = list(list_spaces(read_settings(os.environ, home=said.home).home / "cache"))
    _show_spaces(spaces, as_json=said.json, empty="The cache is empty.")
    return 0


def _prune_cache(said: argparse.Namespace) -> int:
    from tasks.cache import list_spaces, prune

    cache = read_settings(os.environ, home=said.home).home / "cache"
    known = [use.digest for use in list_spaces(cache)]
    strange = [space for space in said.space or () if space not in known]
    if strange:
        raise StorageError(
            f"There is no cache space '{strange[0]}'.",
            where=cache,
            expected=f"one of {', '.join(known)}" if known else "no space: the cache is empty",
            received=" ".join(strange),
            fix="see `radtrain cache list` for the spaces that there are",
        )
    gone = prune(cache, idle_days=said.idle_days or 0.0, digests=said.space or ())
    _show_spaces(gone, as_json=said.json, empty="Nothing was removed.")
    return 0


def _show_spaces(spaces: list[Any], *, as_json: bool, empty: str) -> None:
    if as_json:
        keys = ("kind", "digest", "describes", "rows", "bytes", "idle_days")
        print(json.dumps([{key: getattr(use, key) for key in keys} for use in spaces]))
        return
    for use in spaces:
        about = ", ".join(
            f"{key} {value}" for key, value in use.describes.items() if key not in ("shape", "dtype")
        )
        print(
            f"{use.digest}  {use.kind:<8} {use.rows:>8} rows {use.bytes / 2**20:>9.1f} MiB  unused {use.idle_days:.1f} d"
        )
        print(f"    {about}")
    if not spaces:
        print(empty)


def _setting(text: str) -> tuple[str, Any]:
    """Return the name and the value of `--set NAME=VALUE`; a value is TOML, or else plain text."""
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise CatalogError(
            "A --set was not understood.",
            where="--set",
            expected="KEY=VALUE, for example epochs=10",
            received=text,
            fix="put an = between the figure's name and its value",
        )
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value


def _whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers in a range."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most}, received {text!r}"
            )
        return int(text)

    return number


def _version() -> str:
    from importlib.metadata import version

    return f"radtrain {version('radtrain')}"


if __name__ == "__main__":
    sys.exit(main())
