"""One stack for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.stacks import Ground, make_ground, standing


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Iterator[Ground]:
    """A stack that is up. Nothing looks at its folders by itself: some test would meet the quarter of an hour."""
    with standing(make_ground(tmp_path_factory.mktemp("stack"))) as up:
        up.stop_watching()
        yield up
