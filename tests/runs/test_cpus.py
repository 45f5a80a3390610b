"""Number of CPUs that a process may use."""

import os
import subprocess
import sys

import pytest

from clr import cpus


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity (Linux)")
@pytest.mark.slow
def test_the_cpus_of_a_process_are_those_of_its_affinity():
    code = "from clr.cpus import available_cpus; print(available_cpus())"
    cpu = min(os.sched_getaffinity(0))
    output = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{cpu}]); {code}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output == "1\n"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_cgroup(files, quota, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert cpus._quota(tmp_path) == quota
