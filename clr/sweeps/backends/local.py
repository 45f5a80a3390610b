"""Warm workers: processes on this host that load torch, compiled code and data once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from clr.errors import Busy, Stopped
from clr.sweeps.failure import Failure
from clr.sweeps.job import train_run

PARENT_POLL_SECONDS = 1.0
STOP_SECONDS = 600  # for the checkpoint of a worker whose sweep died


@dataclass
class _Worker:
    """A pool of one process, so that the death of a process does not break the other workers."""

    number: int
    pool: ProcessPoolExecutor


@dataclass
class _Job:
    """A run in a worker."""

    run: str
    worker: _Worker
    future: Future[None]


class WorkerPool:
    """A backend of `n_jobs` warm processes, each of which trains one run at a time.

    Args:
        store: folder of the store.
        n_jobs: number of workers.
        threads: CPU threads of each worker.
        gpus: values of CUDA_VISIBLE_DEVICES, one for each GPU; workers take turns. [] is the CPU.
    """

    def __init__(self, store: str, n_jobs: int, threads: int, gpus: list[str]) -> None:
        self._store, self._threads, self._gpus = store, threads, gpus
        self._idle = [_Worker(number, self._new_pool(number)) for number in range(n_jobs)]
        self._jobs: list[_Job] = []

    def free_slots(self) -> int:
        return len(self._idle)

    def start(self, names: list[str]) -> None:
        for name in names:
            worker = self._idle.pop(0)
            try:
                future = worker.pool.submit(train_run, self._store, name, 0.0)
            except BrokenProcessPool:  # its process died between two runs
                worker.pool.shutdown()
                worker.pool = self._new_pool(worker.number)
                future = worker.pool.submit(train_run, self._store, name, 0.0)
            self._jobs.append(_Job(name, worker, future))

    def recover(self, names: Iterable[str]) -> set[str]:
        return set()  # workers end with their sweep

    def wait(self, seconds: float) -> None:
        if self._jobs:
            wait([job.future for job in self._jobs], seconds, FIRST_COMPLETED)
        else:
            time.sleep(seconds)

    def poll_finished(self) -> list[tuple[str, Failure | None]]:
        finished = [job for job in self._jobs if job.future.done()]
        for job in finished:
            self._jobs.remove(job)
            error = job.future.exception()
            if error is not None and not isinstance(error, Busy | Stopped):
                # The process is dead or may hold memory of the failed run: start a new one. Until
                # a dead process has been waited for, it seems to hold the lock of its run.
                job.worker.pool.shutdown(wait=isinstance(error, BrokenProcessPool))
                job.worker.pool = self._new_pool(job.worker.number)
            self._idle.append(job.worker)
        return [(job.run, None) for job in finished]

    def close(self) -> None:
        """Stop runs that are being trained, each with a checkpoint, and end the workers."""
        if self._jobs:
            for process in multiprocessing.active_children():
                process.terminate()
        wait([job.future for job in self._jobs])
        workers = [*self._idle, *(job.worker for job in self._jobs)]
        with ThreadPoolExecutor(len(workers)) as threads:  # a process takes a second to end
            threads.map(lambda worker: worker.pool.shutdown(), workers)

    def _new_pool(self, number: int) -> ProcessPoolExecutor:
        gpu = self._gpus[number % len(self._gpus)] if self._gpus else None
        return ProcessPoolExecutor(
            1,
            multiprocessing.get_context("spawn"),
            _initialize,
            initargs=(os.getpid(), self._threads, gpu),
        )


def _initialize(parent: int, threads: int, gpu: str | None) -> None:
    """Set up a worker process."""
    # Ctrl-C reaches the whole process group; the sweep stops its workers itself, by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    import torch

    torch.set_num_threads(threads)
    threading.Thread(
        target=_stop_without_parent, args=(parent,), daemon=True, name="parent watch"
    ).start()


def _stop_without_parent(parent: int) -> None:
    """Stop this process with a checkpoint when the sweep is gone, because nobody else would."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(1)
