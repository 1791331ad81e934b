"""The machine's figures, read from trees of /proc and /sys as Linux writes them, and from the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks import measure_machine as machine

KIB, GIB = 1024, 2**30


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def proc(tmp_path) -> Path:
    meminfo = f"MemTotal: {8 * GIB // KIB} kB\nMemFree: 1 kB\nMemAvailable: {6 * GIB // KIB} kB\n"
    return write(tmp_path / "proc", {"meminfo": meminfo, "self/cgroup": "0::/slice/pod\n"})


def test_without_a_control_group_the_machine_itself_decides(proc, tmp_path):
    assert machine.memory(proc, tmp_path / "none") == (6 * GIB, None)
    assert machine.cpu_quota(proc, tmp_path / "none") is None


def test_the_tightest_group_of_version_2_decides_and_file_cache_counts_as_free(proc, tmp_path):
    groups = write(
        tmp_path / "cgroup",
        {
            "slice/memory.max": str(4 * GIB),
            "slice/memory.current": str(3 * GIB),
            "slice/memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
            "slice/pod/memory.max": "max",
            "slice/pod/memory.current": "5",
            "slice/cpu.max": "250000 100000\n",
            "slice/pod/cpu.max": "max 100000\n",
        },
    )
    assert machine.memory(proc, groups) == (3 * GIB, 4 * GIB)
    assert machine.cpu_quota(proc, groups) == 2.5


def test_version_1_groups_are_read_and_their_huge_number_is_no_limit(proc, tmp_path):
    write(proc, {"self/cgroup": "4:memory:/a\n3:cpu,cpuacct:/a\n0::/\n"})
    groups = write(
        tmp_path / "cgroup",
        {
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/memory.usage_in_bytes": "1",
            "memory/a/memory.limit_in_bytes": str(2 * GIB),
            "memory/a/memory.usage_in_bytes": str(3 * GIB),
            "memory/a/memory.stat": "total_inactive_file 0\n",
            "cpu,cpuacct/a/cpu.cfs_quota_us": "150000",
            "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    assert machine.memory(proc, groups) == (0, 2 * GIB)
    assert machine.cpu_quota(proc, groups) == 1.5


def test_a_limit_of_the_address_space_counts_with_what_is_mapped(proc, tmp_path):
    write(proc, {"self/status": f"Name: x\nVmSize:\t  {GIB // KIB} kB\n"})
    for limit, left in (("unlimited", 6), (str(4 * GIB), 3), (str(GIB // 2), 0), (str(90 * GIB), 6)):
        write(
            proc,
            {
                "self/limits": f"Max data size     unlimited  unlimited  bytes\nMax address space {limit}  unlimited  bytes\n"
            },
        )
        assert machine.memory(proc, tmp_path / "none") == (left * GIB, None)


def test_a_group_whose_path_is_the_hosts_is_found_at_the_mount(proc, tmp_path):
    write(proc, {"self/cgroup": "0::/../../docker/abc\n"})
    groups = write(tmp_path / "cgroup", {"cpu.max": "50000 100000"})
    assert machine.cpu_quota(proc, groups) == 0.5


def test_a_system_that_tells_nothing_is_no_error(tmp_path):
    assert machine.memory(tmp_path, tmp_path) == (None, None)
    assert machine.file_system(tmp_path, tmp_path) == ""
    assert machine.nvidia_driver(tmp_path) == ""


def test_the_innermost_and_last_mount_names_the_file_system(tmp_path):
    place = tmp_path / "my data" / "home"
    place.mkdir(parents=True)
    escaped = str(tmp_path / "my data").replace(" ", "\\040")
    lines = [
        "1 0 8:1 / / rw - ext4 /dev/a rw",
        f"2 1 0:5 / {escaped} rw,relatime shared:3 - xfs /dev/b rw",
        f"3 1 0:6 / {escaped} rw - nfs4 host:/x rw",
        f"4 1 0:7 / {escaped}2 rw - tmpfs tmpfs rw",
        "nonsense",
    ]
    proc = write(tmp_path / "proc", {"self/mountinfo": "\n".join(lines)})
    assert machine.file_system(place, proc) == "nfs4"
    assert machine.file_system(place / "not" / "there", proc) == "nfs4"
    assert machine.file_system(Path("/elsewhere"), proc) == "ext4"


def test_the_driver_is_told_by_its_version(tmp_path):
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 2024\nGCC version: 12.2.0\n"
    proc = write(tmp_path, {"driver/nvidia/version": text})
    assert machine.nvidia_driver(proc) == "550.54.15"


def test_a_mounted_disk_in_memory_is_known_as_one(tiny_disk):
    assert machine.file_system(tiny_disk) == "tmpfs"


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux tells")
def test_this_machine_has_cores_and_memory():
    available, limit = machine.memory()
    assert available is not None
    assert 0 < available < 2**50
    assert limit is None or limit > 0
    assert machine.usable_cores() >= 1


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse2 avx512_bf16 amx_tile\n\nprocessor\t: 1\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("flags\t\t: fpu avx512f avx512_bf16x\n", False),
        ("Features\t: fp asimd bf16\n", False),  # what oneDNN makes of it on ARM was not measured
        ("vmx flags\t: amx_bf16\nflags\t\t: fpu\n", False),
        ("", False),
    ],
)
def test_a_processor_multiplies_in_bfloat16_where_its_flags_say_so(tmp_path, cpuinfo, has):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert machine.has_bfloat16(tmp_path) == has


def test_without_a_cpuinfo_there_is_no_bfloat16(tmp_path):
    assert not machine.has_bfloat16(tmp_path)
