"""What the machine gives: cores, memory, the file system below a folder, an NVIDIA driver. Measured, not judged.

Reads what Linux tells in /proc and /sys; where there is none of it, the answer is None or empty.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
#: Limit, use, and the key of what the system would give back at once; of control groups version 2, then 1.
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def usable_cores() -> int:
    """Return the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_bfloat16(proc: Path = PROC) -> bool:
    """Tell whether the processor multiplies in bfloat16; one that does not would be slower with it than without."""
    flags = re.search(r"^flags\s*: (.*)$", _read(proc / "cpuinfo"), re.MULTILINE)
    return bool(flags) and not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags[1].split())


def cpu_model(proc: Path = PROC) -> str:
    """Return the processor's name, or an empty text where it is not told."""
    told = re.search(r"^model name\s*: (.*)$", _read(proc / "cpuinfo"), re.MULTILINE)
    return told[1].strip() if told else ""


def cpu_quota(proc: Path = PROC, cgroups: Path = CGROUPS) -> float | None:
    """Return the smallest quota of the control groups, in cores' worth of time; None without one."""
    quotas = []
    for group in _groups("cpu", proc, cgroups):
        both = _read(group / "cpu.max").split()
        both = both or [_read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()]
        if len(both) == 2 and all(
            part.isdigit() and int(part) > 0 for part in both
        ):  # "max" and -1: no quota
            quotas.append(int(both[0]) / int(both[1]))
    return min(quotas, default=None)


def load() -> float | None:
    """Return how many processes wanted to run in the last minute, on average."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> tuple[int | None, int | None]:
    """Return the bytes that this process can still have, and the control groups' limit if it is below the machine's.

    A limit of the process's address space (`ulimit -v`) counts, with what it has mapped so far.
    """
    told = dict(re.findall(r"^(\w+): +(\d+) kB$", _read(proc / "meminfo"), re.MULTILINE))
    if "MemAvailable" not in told or "MemTotal" not in told:
        return None, None
    available, total = int(told["MemAvailable"]) * 1024, int(told["MemTotal"]) * 1024
    limit = re.search(r"^Max address space +(\d+) ", _read(proc / "self" / "limits"), re.MULTILINE)
    mapped = re.search(r"^VmSize:\s+(\d+) kB$", _read(proc / "self" / "status"), re.MULTILINE)
    if limit and mapped:
        available = max(0, min(available, int(limit[1]) - int(mapped[1]) * 1024))
    smallest = total
    for group in _groups("memory", proc, cgroups):
        for limit_file, use_file, key in _MEMORY:
            limit, use = _read(group / limit_file).strip(), _read(group / use_file).strip()
            if not limit.isdigit() or not use.isdigit() or int(limit) >= total:
                continue
            found = re.search(rf"^{key} (\d+)$", _read(group / "memory.stat"), re.MULTILINE)
            kept = int(use) - (int(found[1]) if found else 0)
            available = max(0, min(available, int(limit) - kept))
            smallest = min(smallest, int(limit))
    return available, smallest if smallest < total else None


def peak_memory(pid: int, proc: Path = PROC) -> int | None:
    """Return the most bytes of memory that a process has had; None where it is gone, or nothing tells."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", _read(proc / str(pid) / "status"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def file_system(folder: Path, proc: Path = PROC) -> str:
    """Return the type of the file system that a folder lies on, such as ext4; empty where it is not told.

    Format: proc_pid_mountinfo(5). Of mounts at one place, the last one is seen.
    """
    place, best = PurePosixPath(os.path.realpath(folder)), (-1, "")
    for line in _read(proc / "self" / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        if len(before.split()) < 5 or not after:
            continue
        at = PurePosixPath(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split()[4]))
        if place.is_relative_to(at) and len(at.parts) >= best[0]:
            best = (len(at.parts), after.split()[0])
    return best[1]


def nvidia_driver(proc: Path = PROC) -> str:
    """Return the version of the NVIDIA driver; empty where there is none."""
    found = re.search(r"Kernel Module.*?(\d+\.[\d.]+)", _read(proc / "driver" / "nvidia" / "version"))
    return found[1] if found else ""


def _groups(controller: str, proc: Path, cgroups: Path) -> Iterator[Path]:
    """Yield this process's control group and those around it, for one controller; format: cgroups(7).

    In a container the path may be the host's and not be there below the mount; the mount itself always is.
    """
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, names, path = [*line.split(":", 2), "", ""][:3]
        if names and controller not in names.split(","):
            continue
        inner = PurePosixPath(path.lstrip("/"))
        if ".." in inner.parts:  # above what this name space shows
            inner = PurePosixPath()
        bases = {cgroups / controller, cgroups / names} if names else {cgroups, cgroups / "unified"}
        for base in sorted(bases):
            yield from (base / level for level in (inner, *inner.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
