"""Run a command and measure it from outside: wall seconds, and the peak memory of its whole process tree."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

#: Between two looks at the memory: fine enough to see a batch, coarse enough not to disturb it.
INTERVAL_S = 0.25


@dataclass(frozen=True)
class Measured:
    """One run: wall seconds, peak memory in MiB (PSS: shared pages are counted once), stdout."""

    wall_s: float
    peak_mib: float
    out: str


def run(
    command: Sequence[str], environment: Mapping[str, str] | None = None, *, memory: bool = False
) -> Measured:
    """Run a command to its end; looking at its memory slows it down, so times come from runs without.

    Raises:
        RuntimeError: it ended with another code than 0.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    peak = 0.0
    while memory and process.poll() is None:
        peak = max(peak, tree_mib(process.pid))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(INTERVAL_S)
    out, error = process.communicate()
    wall = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}: {error[-2000:]}")
    return Measured(wall, peak, out)


def tree_mib(pid: int) -> float:
    """Return the memory of a process and its descendants, MiB."""
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total / 2**20
