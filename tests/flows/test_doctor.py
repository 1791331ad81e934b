"""The doctor's screen: one row a thing, remedies below it, nothing that a terminal would obey."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from flows.doctor import WIDTH, show_doctor
from tasks.core.diagnosis import Line, fail, ok, warn
from tasks.core.errors import StorageError

ROOT = Path(__file__).parents[2]
LINES = [
    ok("python", "3.12.1"),
    warn("data", "no data root is named", remedy="export RADTRAIN_DATA=DIR"),
    fail("home", "the disk is full", remedy="free some space", kind=StorageError),
]


def shown(lines: list[Line], capsys, *, as_json: bool = False) -> str:
    show_doctor(lines, as_json)
    return capsys.readouterr().out


def test_a_row_says_state_name_and_text_and_a_remedy_stands_below_what_needs_one(capsys):
    assert shown(LINES, capsys).splitlines() == [
        "ok    python      3.12.1",
        "warn  data        no data root is named",
        "                  -> export RADTRAIN_DATA=DIR",
        "FAIL  home        the disk is full",
        "                  -> free some space",
        "",
        "Not ready: home. Exit code 15.",
    ]


def test_the_last_row_says_whether_all_is_ready(capsys):
    assert shown(LINES[:1], capsys).endswith("\nReady.\n")
    assert shown(LINES[:2], capsys).endswith("\nReady, with a look at: data.\n")


def test_json_is_one_array_on_one_line(capsys):
    out = shown(LINES, capsys, as_json=True)
    assert len(out.splitlines()) == 1
    assert json.loads(out)[1:] == [
        {
            "name": "data",
            "state": "warn",
            "text": "no data root is named",
            "remedy": "export RADTRAIN_DATA=DIR",
            "exit_code": 0,
        },
        {
            "name": "home",
            "state": "fail",
            "text": "the disk is full",
            "remedy": "free some space",
            "exit_code": 15,
        },
    ]
    assert json.loads(out)[0]["remedy"] is None


def test_long_text_is_folded_and_a_path_is_never_cut(capsys):
    path = "/data/" + "x" * 150
    out = shown([warn("home", f"{'word ' * 40}{path}", remedy=f"{'act ' * 40}{path}")], capsys)
    assert out.count(path) == 2
    assert all(len(row) <= WIDTH or path in row for row in out.splitlines())
    assert all(
        row.startswith(" " * 18) for row in out.splitlines()[1:] if row and not row.startswith("Ready")
    )


def test_a_name_that_would_move_the_cursor_is_shown_harmless(capsys):
    out = shown([ok("home", "/a\033[2J\rb\udcff")], capsys)
    assert "/a\\x1b[2J\\rb\\udcff" in out
    assert "\033" not in out


def test_whole_surroundings_fit_on_one_screen(tmp_path):
    code = (
        "import sys; from tasks.core.settings import read_settings; from tasks.diagnose_setup import diagnose\n"
        "from flows.doctor import show_doctor\n"
        "show_doctor(diagnose(read_settings({}, home=sys.argv[1]), {}), False)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "home")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = run.stdout.splitlines()
    needless = [row for row in rows if row.startswith(" " * 18)]  # remedies of this machine's warnings
    assert len(rows) - len(needless) <= 24
    assert all(len(row) <= WIDTH for row in rows if " " in row[18:].strip())
