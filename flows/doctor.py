"""How the lines of `radtrain doctor` are shown: one row each, its remedy below it where one is needed.

Needs nothing but Python itself: it must also speak where packages are missing.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from tasks.core.diagnosis import Line, exit_code

#: Wider than this, a row is no longer read at a glance.
WIDTH = 116
_MARKS = {"ok": "ok", "warn": "warn", "fail": "FAIL"}
_COLOURS = {"ok": "32", "warn": "33", "fail": "1;31"}
_INDENT = 18


def show_doctor(lines: Sequence[Line], as_json: bool) -> None:
    """Write the lines to stdout: for a person, or as one JSON array on one line."""
    if as_json:
        sys.stdout.write(json.dumps([line.to_json() for line in lines]) + "\n")
        return
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = min(WIDTH, max(40, shutil.get_terminal_size((WIDTH, 24)).columns))
    rows = [row for line in lines for row in _rows(line, width=width, coloured=coloured)]
    sys.stdout.write("\n".join([*rows, "", _summary(lines)]) + "\n")


def _rows(line: Line, *, width: int, coloured: bool) -> list[str]:
    mark = f"{_MARKS[line.state]:<5}"
    text = _folded(line.text, width=width)
    rows = [f"{mark} {line.name:<11} {text[0]}", *(" " * _INDENT + part for part in text[1:])]
    if line.remedy:
        first, *rest = _folded(line.remedy, width=width - 3)
        rows += [" " * _INDENT + f"-> {first}", *(" " * (_INDENT + 3) + part for part in rest)]
    if coloured:
        rows[0] = f"\033[{_COLOURS[line.state]}m{mark}\033[0m{rows[0][len(mark) :]}"
    return rows


def _folded(text: str, *, width: int) -> list[str]:
    """Fold at spaces only, so that a path or a command can be copied; show no character that moves the cursor."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
    return textwrap.wrap(plain, width - _INDENT, break_long_words=False, break_on_hyphens=False) or [""]


def _summary(lines: Sequence[Line]) -> str:
    failing = [line.name for line in lines if line.state == "fail"]
    warning = [line.name for line in lines if line.state == "warn"]
    if failing:
        return f"Not ready: {', '.join(failing)}. Exit code {exit_code(lines)}."
    return f"Ready, with a look at: {', '.join(warning)}." if warning else "Ready."
