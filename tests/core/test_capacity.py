"""Figures of the machine against what a run needs: each bound from both sides."""

from __future__ import annotations

import pytest

from tasks.core import capacity

GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "quota", "load", "state", "text"),
    [
        (4, None, 0.5, "ok", "4 usable, load 0.5 in the last minute"),
        (4, None, 4.1, "warn", "4 usable, load 4.1 in the last minute"),
        (16, 2.5, 2.0, "ok", "2.5 usable of 16, by the control group's quota, load 2.0 in the last minute"),
        (16, 2.5, 3.0, "warn", "2.5 usable of 16, by the control group's quota, load 3.0 in the last minute"),
        (2, 8.0, None, "ok", "2 usable"),
    ],
)
def test_more_load_than_cores_makes_timings_noisy(cores, quota, load, state, text):
    line = capacity.judge_cores(cores, quota=quota, load=load)
    assert (line.state, line.text) == (state, text)
    assert ("timings" in line.remedy) == (state == "warn")


@pytest.mark.parametrize(
    ("environment", "state", "said"),
    [
        ({}, "ok", "as many as there are cores"),
        ({"OMP_NUM_THREADS": "4"}, "ok", "OMP_NUM_THREADS=4"),
        ({"OMP_NUM_THREADS": "4,2"}, "ok", "OMP_NUM_THREADS=4,2"),
        ({"OMP_NUM_THREADS": ""}, "ok", "as many as"),
        ({"OMP_NUM_THREADS": "5"}, "warn", "OMP_NUM_THREADS=5 is more than the 4 usable cores"),
        ({"OMP_NUM_THREADS": "0"}, "warn", "is not a number of threads"),
        ({"OMP_NUM_THREADS": "-1"}, "warn", "is not a number of threads"),
        ({"OMP_NUM_THREADS": "all"}, "warn", "is not a number of threads"),
        ({"OMP_NUM_THREADS": "9" * 5000}, "warn", "is more than"),
        ({"TF_NUM_INTRAOP_THREADS": "0"}, "ok", "TF_NUM_INTRAOP_THREADS=0"),
        ({"TF_NUM_INTRAOP_THREADS": "1"}, "warn", "leaves cores idle"),
        ({"TF_NUM_INTEROP_THREADS": "1"}, "ok", "TF_NUM_INTEROP_THREADS=1"),
    ],
)
def test_an_odd_number_of_threads_is_named(environment, state, said):
    line = capacity.judge_threads(environment, cores=4)
    assert line.state == state
    assert said in line.text
    assert line.remedy == (f"unset {next(iter(environment))}" if state == "warn" else "")


@pytest.mark.parametrize(
    ("available", "limit", "state", "text"),
    [
        (2 * GIB, None, "ok", "2.0 GiB available"),
        (2 * GIB - 1, 4 * GIB, "warn", "2.0 GiB available, limit of the control group 4.0 GiB"),
        (None, None, "ok", "not told by this system; a run takes about 1.5 GiB"),
    ],
)
def test_a_run_wants_two_gibibytes_of_memory(available, limit, state, text):
    line = capacity.judge_memory(available, limit=limit)
    assert (line.state, line.text) == (state, text)
    assert ("needs about 2.0 GiB" in line.remedy) == (state == "warn")


@pytest.mark.parametrize(
    ("free", "inodes", "state", "code"),
    [
        (5 * GIB, None, "ok", 0),
        (5 * GIB - 1, None, "warn", 0),
        (GIB, 10_000, "warn", 0),
        (GIB - 1, 10_000, "fail", 15),
        (5 * GIB, 10_000, "ok", 0),
        (5 * GIB, 9_999, "warn", 0),
        (5 * GIB, 999, "fail", 15),
    ],
)
def test_a_full_disk_fails_and_a_nearly_full_one_warns(free, inodes, state, code):
    line = capacity.judge_space(free, inodes=inodes, cached=GIB // 2)
    assert (line.state, line.exit_code) == (state, code)
    assert "cache 0.5 GiB" in line.text
    assert ("radtrain cache prune" in line.remedy) == (state != "ok")
    assert ("more files" in line.text) == (inodes is not None and inodes < 10_000)


@pytest.mark.parametrize(
    ("file_system", "said"),
    [
        ("ext4", ""),
        ("overlay", ""),
        ("", ""),
        ("tmpfs", "gone when"),
        ("nfs4", "SQLite"),
        ("fuse.sshfs", "SQLite"),
    ],
)
def test_a_home_in_memory_or_behind_a_network_is_a_warning(file_system, said):
    line = capacity.judge_home("/home/x", file_system=file_system)
    assert line.state == ("warn" if said else "ok")
    assert said in line.text
    assert line.text.startswith("/home/x, writable")
    assert ("--home DIR" in line.remedy) == bool(said)


def test_few_open_files_are_a_warning():
    assert capacity.judge_open_files(1024).state == "ok"
    line = capacity.judge_open_files(256)
    assert (line.state, line.remedy) == ("warn", "ulimit -n 1024")
    assert "256" in line.text
