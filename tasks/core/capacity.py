"""What the machine can give, judged: cores, threads, memory, space, file system, open files.

In: figures that `tasks/measure_machine.py` measured. Out: a line of the doctor each.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasks.core.diagnosis import Line, fail, ok, warn
from tasks.core.errors import StorageError

_GIB = 2**30
#: A cold run has 1.5 GiB at its peak, all its processes together (docs/LOG.md, "Memory of a cold run").
MEMORY_NEEDED = 2 * _GIB
#: Facts, cache, models and databases of some data sets; below the second even one may not fit.
SPACE_COMFORTABLE, SPACE_NEEDED = 5 * _GIB, 1 * _GIB
#: Files: a run of five diseases leaves some hundred.
INODES_COMFORTABLE, INODES_NEEDED = 10_000, 1_000
#: Server, worker, databases and MLflow together stay far below; 1,024 is what Linux gives by default.
OPEN_FILES = 1024
#: Behind a network; so is most of what FUSE mounts, whose types begin with `fuse.`.
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs")
_PASSING = ("tmpfs", "ramfs")
#: Variable -> whether 0 is a sensible value: TensorFlow then chooses by itself.
_THREADS = {"OMP_NUM_THREADS": False, "TF_NUM_INTRAOP_THREADS": True, "TF_NUM_INTEROP_THREADS": True}


def judge_cores(cores: int, *, quota: float | None, load: float | None) -> Line:
    """Judge the cores and what else keeps them busy.

    Args:
        cores: that this process may run on.
        quota: cores' worth of time that the control group grants; None without a limit.
        load: processes that wanted to run in the last minute, on average; None where it is not told.
    """
    usable = min(float(cores), quota or float(cores))
    text = f"{usable:g} usable" + (f" of {cores}, by the control group's quota" if usable < cores else "")
    if load is None:
        return ok("cores", text)
    text += f", load {load:.1f} in the last minute"
    if load <= usable:
        return ok("cores", text)
    remedy = "wait for what else runs here: a run takes longer, and timings mean little"
    return warn("cores", text, remedy=remedy)


def judge_threads(environment: Mapping[str, str], *, cores: float) -> Line:
    """Judge the variables that set a number of threads, against the usable cores."""
    odd, said = [], []
    for name, zero in _THREADS.items():
        text = environment.get(name, "")
        first = text.partition(",")[0].strip()  # OpenMP takes one number per level of nesting
        if not text:
            continue
        if not (first.isascii() and first.isdigit()) or (int(first[:9]) == 0 and not zero):
            odd.append(f"{name}={text} is not a number of threads")
        elif int(first[:9]) > max(1.0, cores):
            odd.append(f"{name}={text} is more than the {cores:g} usable cores")
        elif name == "TF_NUM_INTRAOP_THREADS" and 0 < int(first) < int(cores):
            odd.append(f"{name}={text} leaves cores idle: {cores:g} are usable")
        else:
            said.append(f"{name}={text}")
    if not odd:
        return ok("threads", ", ".join(said) or "as many as there are cores")
    names = " ".join(text.partition("=")[0] for text in odd)
    return warn("threads", "; ".join(odd), remedy=f"unset {names}")


def judge_memory(available: int | None, *, limit: int | None) -> Line:
    """Judge the memory that a run could take.

    Args:
        available: bytes, what the control group still grants included; None where it is not told.
        limit: bytes, of the control group; None without one below the machine's own memory.
    """
    if available is None:
        return ok("memory", "not told by this system; a run takes about 1.5 GiB")
    text = f"{_gib(available)} available"
    if limit is not None:
        text += f", limit of the control group {_gib(limit)}"
    if available >= MEMORY_NEEDED:
        return ok("memory", text)
    remedy = f"end other programs or raise the limit: a run needs about {_gib(MEMORY_NEEDED)}"
    return warn("memory", text, remedy=remedy)


def judge_space(free: int, *, inodes: int | None, cached: int) -> Line:
    """Judge the room that the disk of the home folder has left.

    Args:
        free: bytes that this user may still write.
        inodes: files that may still be made; None where the file system has no such limit.
        cached: bytes of cached pixels and features.
    """
    text = f"{_gib(free)} free, cache {_gib(cached)}"
    few = inodes is not None and inodes < INODES_COMFORTABLE
    if few:
        text += f", room for {inodes:,} more files"
    remedy = "free some space, radtrain cache prune --idle-days 30, or name another --home DIR"
    if free < SPACE_NEEDED or (inodes is not None and inodes < INODES_NEEDED):
        return fail("space", text, remedy=remedy, kind=StorageError)
    if free < SPACE_COMFORTABLE or few:
        return warn("space", text, remedy=remedy)
    return ok("space", text)


def judge_home(home: str, *, file_system: str) -> Line:
    """Judge where a home folder lies that can be written; `file_system` is its type, empty where not told."""
    text = f"{home}, writable" + (f", {file_system}" if file_system else "")
    remedy = "name a folder on a disk of this machine: --home DIR, or export RADTRAIN_HOME=DIR"
    if file_system in _PASSING:
        return warn("home", f"{text}: in memory, gone when the machine restarts", remedy=remedy)
    if file_system in _NETWORK or file_system.startswith("fuse."):
        return warn(
            "home", f"{text}: not a disk of this machine; SQLite is slow there and may fail", remedy=remedy
        )
    return ok("home", text)


def judge_open_files(limit: int) -> Line:
    """Judge how many files a process may have open."""
    if limit >= OPEN_FILES:
        return ok("open files", f"up to {limit:,} in a process")
    remedy = f"ulimit -n {OPEN_FILES}"
    return warn("open files", f"up to {limit:,} in a process, fewer than usual", remedy=remedy)


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
