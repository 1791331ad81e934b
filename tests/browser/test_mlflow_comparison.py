"""The link that `radtrain compare` prints, in a real MLflow server, in a real browser: it shows these runs and no other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.core.settings import default_tracking_uri
from tasks.tracking import Tracker, open_tracker


@pytest.fixture(scope="module")
def tracker(tmp_path_factory) -> Tracker:
    home = tmp_path_factory.mktemp("mlflow")
    return open_tracker(default_tracking_uri(home), home / "mlartifacts")


@pytest.fixture(scope="module")
def runs(tracker) -> list[str]:
    """Two runs that are compared, and one that is not."""
    made = []
    for name, auroc in (("quick knee", 0.81), ("slow knee", 0.93), ("a third run", 0.5)):
        run_id = tracker.start_run(name, tags={"radtrain.profile": name.split()[0]})
        tracker.log(run_id, params={"seed": 0}, metrics={"test/auroc": auroc})
        tracker.end_run(run_id, completed=True)
        made.append(run_id)
    return made


@pytest.fixture(scope="module")
def server(tracker, runs, tmp_path_factory) -> Iterator[str]:
    """The address of `mlflow server`, started as docs/how-to/compare-runs-in-mlflow.md says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    words = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", tracker.uri]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *words,
        "--default-artifact-root",
        str(folder / "artifacts"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(30)


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"mlflow server did not answer: {log.read_text()[-2000:]}")


def test_the_link_opens_the_comparison_of_just_these_runs(browser, tracker, runs, server, screenshots):
    link = replace(tracker, uri=server).compare_link(runs[:2])
    assert link.startswith(server)
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    try:
        page = context.new_page()
        page.goto(link, wait_until="load", timeout=120_000)
        page.get_by_text("Comparing 2 Runs").first.wait_for(timeout=120_000)
        page.get_by_text("slow knee").first.wait_for(timeout=60_000)
        page.screenshot(path=screenshots / "mlflow-comparison.png", full_page=True)
        said = page.locator("body").inner_text()
        assert "quick knee" in said
        assert "a third run" not in said
        for shown in ("test/auroc", "0.81", "0.93"):
            assert shown in said
        assert page.evaluate("location.hash").startswith("#/compare-runs?")
    finally:
        context.close()
