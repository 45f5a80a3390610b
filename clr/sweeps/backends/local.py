"""Warm workers on this host: each makes one run after the other, and loads torch, compiled code and data once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

from clr.errors import Busy, Stopped
from clr.sweeps.job import Failure, make_run

PARENT_SECONDS = 1.0  # between two looks whether the sweep still lives


@dataclass
class _Worker:
    """A pool of one process: when it dies, its neighbours don't notice."""

    number: int
    pool: ProcessPoolExecutor
    run: str | None = None
    future: Future[None] | None = None


class WorkerPool:
    """At most `n_jobs` runs at a time, each in a process of its own that stays for the next; see launch.Backend."""

    def __init__(self, store: str, n_jobs: int, threads: int, gpus: int) -> None:
        self._store, self._threads, self._gpus = store, threads, gpus
        self._idle = [_Worker(number, self._pool(number)) for number in range(n_jobs)]
        self._busy: list[_Worker] = []

    def free_slots(self) -> int:
        return len(self._idle)

    def start(self, names: list[str]) -> None:
        for name in names:
            worker = self._idle.pop(0)
            worker.run, worker.future = name, worker.pool.submit(make_run, self._store, name, 0.0)
            self._busy.append(worker)

    def recover(self, names: Iterable[str]) -> set[str]:
        return set()  # workers end with their sweep

    def poll_finished(self) -> list[tuple[str, Failure | None]]:
        over = [
            worker for worker in self._busy if worker.future is not None and worker.future.done()
        ]
        for worker in over:
            self._busy.remove(worker)
            error = worker.future.exception() if worker.future is not None else None
            # A process that met an error may hold anything, one that died is no more: the next run gets a fresh one.
            if error is not None and not isinstance(error, Busy | Stopped):
                worker.pool.shutdown(wait=False)
                worker.pool = self._pool(worker.number)
            self._idle.append(worker)
        return [(worker.run, None) for worker in over if worker.run is not None]

    def close(self) -> None:
        """Runs that are still going on write a checkpoint and stop."""
        if self._busy:
            for process in multiprocessing.active_children():
                process.terminate()
        wait([worker.future for worker in self._busy if worker.future is not None])
        for worker in [*self._idle, *self._busy]:
            worker.pool.shutdown()

    def _pool(self, number: int) -> ProcessPoolExecutor:
        gpu = number % self._gpus if self._gpus else None
        return ProcessPoolExecutor(
            1,
            multiprocessing.get_context("spawn"),
            _begin,
            initargs=(os.getpid(), self._threads, gpu),
        )


def _begin(parent: int, threads: int, gpu: int | None) -> None:
    """What a worker does first."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes; the sweep tells its workers itself
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    import torch

    torch.set_num_threads(threads)
    threading.Thread(
        target=_leave_with, args=(parent,), daemon=True, name="watch over the sweep"
    ).start()


def _leave_with(parent: int) -> None:
    """Stop as if told to when the sweep is gone: nobody else would take this process's runs or end it."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)  # for the run's checkpoint
    os._exit(1)
