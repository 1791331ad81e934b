"""The command `radtrain`. Reads words, runs the command they name, and ends with a documented code.

Each command is a module of `flows/commands/` with `add`, which says its words, and a function that carries them out.
Imports stand in the functions that need them, so that `radtrain --help` and every error answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from flows.commands import ablate, cache, check, compare, demo, doctor, down, status, sweep, train, up
from tasks.core.errors import EXIT_CODES, RadtrainError
from tasks.core.settings import silence

#: In the order of `radtrain --help`.
COMMANDS = (train, compare, sweep, ablate, check, up, status, down, doctor, demo, cache)


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
    for command in COMMANDS:
        command.add(commands)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return f"radtrain {version('radtrain')}"


if __name__ == "__main__":
    sys.exit(main())
