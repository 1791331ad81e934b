"""One stack for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.stacks import Ground, make_ground


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Iterator[Ground]:
    """A stack that is up."""
    made = make_ground(tmp_path_factory.mktemp("stack"))
    made.up()
    yield made
    made.radtrain("down")
    left = made.processes()
    for process in left:
        process.kill()
    assert not left
