"""Processes that go on without whoever started them: started, recognised again, asked whether they answer, ended.

A number alone names no process: after its end the system gives it to another. So the time of its start goes with it,
and nothing is ever ended that is not just that process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.files import writing

#: This machine, and nobody beyond it.
HOST = "127.0.0.1"

#: Seconds that a process gets to end by itself.
PATIENCE_S = 30.0
#: Bytes of a log that are shown of a process that did not come up.
_SHOWN = 1500


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine.

    Attributes:
        pid: its number.
        born: when it was started, by a clock that nobody sets.
    """

    pid: int
    born: str

    def is_running(self) -> bool:
        """Tell whether it is there: the same one, and not just its exit code."""
        return self.born != "" and _born(self.pid) == self.born

    def stop(self, *, patience_s: float = PATIENCE_S) -> bool:
        """End it and whatever it started; return whether it had to be killed.

        It leads a session of its own (`start_process`), so its children are those of its group.
        """
        if not self.is_running():
            return False
        os.kill(self.pid, signal.SIGTERM)
        ends = time.monotonic() + patience_s
        while self.is_running() and time.monotonic() < ends:
            time.sleep(0.05)
        killed = self.is_running()
        for member in _group(self.pid):
            member.kill()
        while self.is_running():
            time.sleep(0.01)
        return killed


def end_orphans(leader: int, mark: tuple[str, str]) -> None:
    """End what a process left behind in its group when it was killed.

    Args:
        leader: its number.
        mark: a variable and its value in the environment that it was started with, so that nobody else's is ended.
    """
    name, value = mark
    for member in _group(leader):
        with contextlib.suppress(psutil.Error):
            if member.environ().get(name) == value:
                member.kill()
                member.wait(PATIENCE_S)


def start_process(words: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """Start a process in a session of its own; what it says is added to a log that others cannot read.

    Raises:
        StorageError: the log cannot be written.
    """
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(  # noqa: S603 - our own words, no shell
            words,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A shell ignores it for what it starts with &, and Prefect's worker ends by it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    finally:
        os.close(output)
    child.returncode = 0  # it is meant to outlive this process: nobody waits for it
    return Process(child.pid, _born(child.pid))


def answers(url: str) -> bool:
    """Tell whether an http address of this machine answers without an error."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own addresses
            return True
    except (OSError, ValueError):
        return False


def listener(host: str, port: int) -> str:
    """Return who listens at a port, as far as the system tells; an empty text where it is free."""
    with socket.socket() as trial:
        trial.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as a server does: a port in TIME_WAIT is free
        try:
            trial.bind((host, port))
            return ""
        except OSError as error:
            said = error.strerror or "it cannot be opened"
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                pid = connection.pid
                return f"process {pid} ({psutil.Process(pid).name()})" if pid else said
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return said
    return said


def go_past_proxies(environment: MutableMapping[str, str]) -> None:
    """Have no proxy stand between two processes of this machine."""
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, (environment.get(name), HOST)))


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def last_words(log: Path) -> str:
    """Return the end of a log."""
    try:
        return log.read_bytes()[-_SHOWN:].decode(errors="replace").strip()
    except OSError:
        return ""


def _born(pid: int) -> str:
    """Return what tells a process from all others that had or will have its number; empty where it has ended.

    On Linux: the boot, and the ticks since it. Elsewhere: seconds since 1970.
    """
    try:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return ""
        if not psutil.LINUX:
            return str(psutil.Process(pid).create_time())
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"
    except (psutil.NoSuchProcess, OSError):
        return ""


def _group(leader: int) -> list[psutil.Process]:
    """Return the processes of a group, its leader included."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader:
                found.append(process)
        except (ProcessLookupError, PermissionError):
            continue
    return found
