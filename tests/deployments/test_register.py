"""Registering from a shell: what keeps a server from being told is said, with its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9/api"


@pytest.mark.parametrize(
    ("schedules", "code", "said"),
    [
        ('[train-all]\nfast = "0 25 * * *"\n', 10, "A schedule was not understood."),
        ('[train-all]\nfsat = "0 2 * * *"\n', 10, "Did you mean 'train-all/fast'?"),
        ('[train-all]\nfast = "0 2 * * *"\n', 16, "The Prefect server did not take the deployments."),
    ],
)
def test_what_goes_wrong_is_said(tmp_path, schedules, code, said):
    (tmp_path / "schedules.toml").write_text(schedules)
    places = {"RADTRAIN_CATALOG": str(tmp_path), "RADTRAIN_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "deployments.register"],
        cwd=ROOT,
        env={**os.environ, **places, "PREFECT_API_URL": NOBODY, "PREFECT_CLIENT_MAX_RETRIES": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
