"""What every test may rely on: nothing phones home, nothing of the user's own environment is read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.core.settings import QUIET

if TYPE_CHECKING:
    from tasks.worker import Worker

os.environ.update(QUIET)
for name in [name for name in os.environ if name.startswith("RADTRAIN_") and name != "RADTRAIN_SCREENSHOTS"]:
    os.environ.pop(name)
for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
    os.environ.pop(name, None)

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
#: Folders whose files take minutes. They go first, so that both cores are busy to the end.
LONG = ("integration", "radiographs", "flows")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        return LONG.index(folder) if folder in LONG else len(LONG)

    items.sort(key=turn)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with real radiographs and weights that stands beside the checkout."""
    if not (SHARED / "radiographs").is_dir():
        pytest.skip(f"no real radiographs at {SHARED / 'radiographs'}")
    return SHARED


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A temporary Prefect server with a database of its own."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """The process that holds TensorFlow; flows find it by themselves while it runs."""
    from tasks.worker import start_worker

    with start_worker() as running:
        yield running


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)
