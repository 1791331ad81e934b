"""What a command prints on stdout, for a reader who may go away before the end, as `head` does."""

from __future__ import annotations

import os
import sys
from typing import IO


def write(text: str) -> None:
    """Print text; where nobody reads on, the exit code is still that of the command."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        write_nowhere(sys.stdout)


def write_nowhere(stream: IO[str]) -> None:
    """Send the rest of a stream nowhere, or the interpreter complains when it flushes it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
