"""Imports without looking for garbage."""

from __future__ import annotations

import gc

import pytest

from tasks.core.imports import importing


def test_the_collector_is_off_meanwhile_and_on_again_whatever_happens():
    assert gc.isenabled()
    seen = []

    def fail() -> None:
        with importing():
            seen.append(gc.isenabled())
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert seen == [False]
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with importing():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
