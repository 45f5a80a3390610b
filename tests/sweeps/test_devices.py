"""GPUs that a sweep gives to its workers."""

import multiprocessing
import os
import time

import crashing
import pytest
import torch

from clr.config import load
from clr.sweeps import devices
from clr.sweeps.backends import local
from hydra_plugins.clr_launchers import WorkersLauncher


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
    pool = local.WorkerPool(str(tmp_path), n_jobs=2, threads=1, gpus=["2", "3"])
    seen = [worker.pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() for worker in pool._idle]
    pool.close()
    assert seen == ["2", "3"]


@pytest.mark.slow
def test_a_worker_that_died_is_gone_when_its_run_is_reported(tmp_path, monkeypatch):
    """Otherwise the run's lock looks held, and the retry counts as one more attempt."""
    monkeypatch.setattr(local, "train_run", crashing.die_slowly)
    pool = local.WorkerPool(str(tmp_path), n_jobs=1, threads=1, gpus=[])
    pool.start(["run"])
    (process,) = multiprocessing.active_children()
    while not (finished := pool.poll_finished()):
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    pool.close()
    assert finished == [("run", None)]


@pytest.mark.slow
def test_a_worker_that_died_between_two_runs_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "train_run", crashing.leave_a_file)
    pool = local.WorkerPool(str(tmp_path), n_jobs=1, threads=1, gpus=[])
    pool.start(["first"])
    while not pool.poll_finished():
        time.sleep(0.01)
    (process,) = multiprocessing.active_children()
    process.kill()
    executor = pool._idle[0].pool
    while not executor._broken:
        time.sleep(0.01)
    pool.start(["second"])
    while not (finished := pool.poll_finished()):
        time.sleep(0.01)
    pool.close()
    assert finished == [("second", None)]
    assert (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("threads", "runs", "gpus", "workers"),
    [
        ("null", 5, [], 1),  # each run takes all CPUs
        (1, 5, [], 4),
        (2, 5, [], 2),
        (3, 5, [], 1),
        (8, 5, [], 1),
        (1, 3, [], 3),  # not more than there are runs
        (1, 5, ["0", "1"], 2),
    ],
)
def test_the_default_number_of_workers_fills_the_machine(
    threads, runs, gpus, workers, tmp_path, monkeypatch
):
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    monkeypatch.setattr("clr.cpus.available_cpus", lambda: 4)
    monkeypatch.setattr(devices, "visible_gpus", lambda: gpus)
    cfg = load([f"threads={threads}"])
    pool = WorkersLauncher(n_jobs=None, retries=0).backend(str(tmp_path), [cfg] * runs)
    assert pool.free_slots() == workers
    pool.close()
