"""Checkpoints in memory, for tests of fitting."""

from __future__ import annotations

from copy import deepcopy

from tasks.core.fitting import State


class Kept:
    """Takes every state, and gives the one that it was made with.

    Attributes:
        states: after each epoch, in order.
    """

    def __init__(self, first: State | None = None) -> None:
        self._first = first or State()
        self.states: list[State] = []

    def load(self) -> State:
        return deepcopy(self._first)

    def save(self, state: State) -> None:
        self.states.append(deepcopy(state))
