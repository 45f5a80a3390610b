"""CPUs that a process may use, and the threads of a conversion."""

import os
import threading

import pytest

from clr.cpus import available_cpus
from clr.data.encode import map_in_order


@pytest.fixture
def one_cpu():
    """Restrict this process to one CPU, as `taskset` does."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def test_affinity_limits_the_cpus(one_cpu, tmp_path):
    assert available_cpus(tmp_path) == 1


@pytest.mark.parametrize(
    ("quota", "cpus"), [("50000 100000", 1), ("max 100000", None), ("1000000000 100000", None)]
)
def test_quota_of_cgroup_version_2_limits_the_cpus(tmp_path, quota, cpus):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert available_cpus(tmp_path) == (cpus or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("quota", "cpus"), [(50000, 1), (-1, None)])
def test_quota_of_cgroup_version_1_limits_the_cpus(tmp_path, quota, cpus):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cpus(tmp_path) == (cpus or len(os.sched_getaffinity(0)))


def test_partial_quota_is_rounded_up(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert available_cpus(tmp_path) == 2


def test_conversion_uses_one_thread_per_available_cpu(one_cpu):
    threads = set()

    def work(chunk: range) -> int:
        threads.add(threading.get_ident())
        return chunk.start

    chunks = [range(i, i + 1) for i in range(50)]
    assert list(map_in_order(work, chunks)) == list(range(50))
    assert len(threads) == 1
