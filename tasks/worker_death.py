"""What is said where the process that holds TensorFlow ended in the middle of a request."""

from __future__ import annotations

import signal

from tasks.core.errors import RadtrainError


class WorkerDied(RadtrainError):
    """The TensorFlow process ended in the middle of a request; the text says by what.

    Args:
        cause: by what.
        killed: by a SIGKILL, as the system does where memory runs out.
        memory: bytes that it had taken at most; 0 where that was not seen.
    """

    def __init__(self, cause: str, *, killed: bool = False, memory: int = 0) -> None:
        at = f", having taken {memory / 2**30:.2f} GiB" if memory else ""
        self.cause, self.killed = f"{cause}{at}", killed
        super().__init__(
            f"The TensorFlow process ended: {self.cause}.",
            expected="a process that lives until its work is done",
            fix="run the same command again: what was computed is kept; if it was out of memory, close other "
            "programs or name fewer diseases",
        )


class RequestDropped(WorkerDied):
    """The run that a request belongs to was stopped."""

    def __init__(self) -> None:
        super().__init__("it was stopped with the run")


def cause_of(exit_code: int) -> str:
    """Say by what a process ended."""
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"{name}{' (out of memory, or killed by hand)' if name == 'SIGKILL' else ''}"
    return f"exit code {exit_code}"
