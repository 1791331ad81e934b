"""A real browser for the pages that radtrain writes: Debian's chromium, headless, with everything it complains of kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox, for containers that run as root; the pages are our own and run no script.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions"]


@dataclass(slots=True)
class Opened:
    """A page that was opened, and what it did meanwhile.

    Attributes:
        page: playwright's page.
        complaints: messages of the console and errors of the page; a breach of the content policy is one.
        requests: addresses asked for, data: aside.
        dialogs: what alert, confirm and prompt said.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


def find_browser() -> str:
    """Return the path of a browser; without one the test is skipped."""
    where = next(filter(None, map(shutil.which, NAMES)), None)
    if where is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed (apt-get install chromium)")
    return where


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """One browser for all tests of this folder.

    It is closed after the last of them, not of the session: while playwright is on, asyncio reports a running loop in
    this thread, and a flow that is called then would take itself for a coroutine.
    """
    where = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=where, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file at a width and height, light or dark, and keep what the page complains of and asks for."""
    contexts = []

    def opened(path: Path, width: int, height: int, scheme: str = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        seen = Opened(context.new_page())
        seen.page.on("console", lambda message: seen.complaints.append(message.text))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("request", lambda request: _keep(seen.requests, request.url))
        seen.page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
        seen.page.goto(path.as_uri(), wait_until="load")
        return seen

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """The folder of `RADTRAIN_SCREENSHOTS`, for people who want to look at the pages, or one that passes."""
    folder = Path(os.environ.get("RADTRAIN_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _keep(requests: list[str], address: str) -> None:
    if not address.startswith("data:"):
        requests.append(address)
