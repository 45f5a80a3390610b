"""CPUs and GPUs that a sweep gives to its workers."""

import os
import subprocess
import sys

import pytest
import torch

from clr.sweeps import devices
from clr.sweeps.backends.local import WorkerPool


@pytest.mark.parametrize(
    ("given", "count", "names"),
    [
        (None, 2, ["0", "1"]),
        ("2,3", 2, ["2", "3"]),
        (" 2, 3 ", 2, ["2", "3"]),
        ("GPU-5a1,GPU-77f", 2, ["GPU-5a1", "GPU-77f"]),
        ("MIG-1,MIG-2", 1, ["MIG-1", "MIG-2"]),  # CUDA counts one MIG device per process
        ("1,-1,0", 1, ["1"]),
        ("", 0, []),
        (None, 0, []),
    ],
)
def test_the_gpus_given_to_a_process(given, count, names, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert devices.visible_gpus() == names


def test_workers_take_turns_at_the_gpus_given(tmp_path):
    pool = WorkerPool(str(tmp_path), n_jobs=2, threads=1, gpus=["2", "3"])
    seen = [worker.pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() for worker in pool._idle]
    pool.close()
    assert seen == ["2", "3"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity (Linux)")
def test_the_cpus_of_a_process_are_those_of_its_affinity():
    code = "from clr.sweeps.devices import available_cpus; print(available_cpus())"
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
    assert devices._quota(tmp_path) == quota
