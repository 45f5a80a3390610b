"""GPUs that a sweep gives to its workers."""

import os

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


@pytest.mark.slow
def test_workers_take_turns_at_the_gpus_given(tmp_path):
    pool = WorkerPool(str(tmp_path), n_jobs=2, threads=1, gpus=["2", "3"])
    seen = [worker.pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() for worker in pool._idle]
    pool.close()
    assert seen == ["2", "3"]
