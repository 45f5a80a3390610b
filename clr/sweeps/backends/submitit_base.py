"""Runs as jobs of submitit: what a job does, and the backend for submitit's jobs on this host."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from clr import slurm
from clr.errors import CONTINUE, Busy, Stopped, UserError
from clr.files import write_json
from clr.runs.store import LEASE_SECONDS, Store
from clr.sweeps.failure import Failure
from clr.sweeps.job import train_run

JOB_FILE = "job.json"  # in a run's folder: the id of the job that was submitted for it last


class RunJob:
    """The callable that submitit runs in every task of a job.

    A job that SLURM requeues calls it again, and finds its run and checkpoint by the run's name.
    """

    def __init__(self, store: str, name: str) -> None:
        self.store, self.name = store, name

    def __call__(self) -> None:
        job = submitit.JobEnvironment()
        if job.cluster == "local" and job.num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        try:
            # If the run's last node failed, the lock on the run must expire first.
            train_run(self.store, self.name, patience=2 * LEASE_SECONDS)
        except Busy:
            return
        except Stopped as stop:
            if stop.signal == "SIGTERM":
                # scancel, or a preemption, after which SLURM requeues the job itself.
                sys.exit(CONTINUE)
            # Near the time limit submitit's handler requeues the job, at most `max_requeues` times.
            os.kill(os.getpid(), signal.SIGUSR2)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Resubmit the same call: the state of the run is in its own checkpoint."""
        return submitit.helpers.DelayedSubmission(self)


class SubmititBackend:
    """A backend of at most `limit` jobs of a submitit executor; the jobs end with the sweep."""

    def __init__(self, store: str, executor: submitit.Executor, limit: int) -> None:
        self._store, self._executor, self._limit = Store(store), executor, limit
        self._jobs: dict[str, submitit.Job[None]] = {}

    def free_slots(self) -> int:
        return self._limit - len(self._jobs)

    def start(self, names: list[str]) -> None:
        calls = [RunJob(str(self._store.root), name) for name in names]
        try:
            with slurm.outside_of_jobs():
                jobs = self._executor.submit_array(calls)
        except (FailedJobError, FailedSubmissionError) as error:
            raise UserError(
                f"SLURM rejects the job: {_reason(error)}; change hydra.launcher.KEY "
                "(see docs/cluster.md)"
            ) from None
        for name, job in zip(names, jobs, strict=True):
            self._jobs[name] = job
            write_json({"job": job.job_id}, self._store.folder(name) / JOB_FILE)

    def recover(self, names: Iterable[str]) -> set[str]:
        return set()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def poll_finished(self) -> list[tuple[str, Failure | None]]:
        finished = [name for name, job in self._jobs.items() if job.done()]
        for name in finished:
            del self._jobs[name]
        return [(name, None) for name in finished]

    def close(self) -> None:
        for job in self._jobs.values():
            job.cancel(check=False)


def local_backend(store: str, n_jobs: int, parameters: dict[str, Any]) -> SubmititBackend:
    """Return the backend of `hydra/launcher=submitit_local`."""
    return SubmititBackend(store, make_executor(store, "local", 0, parameters), n_jobs)


def make_executor(
    store: str, cluster: str, max_requeues: int, parameters: dict[str, Any]
) -> submitit.Executor:
    """Return submitit's executor, which keeps its files below the store.

    Raises UserError for parameters that submitit does not accept.
    """
    executor = submitit.AutoExecutor(
        Path(store) / ".submitit" / "%j",
        cluster=cluster,
        **{f"{cluster}_max_num_timeout": max_requeues},
    )
    settings = {key: value for key, value in parameters.items() if value is not None}
    try:
        executor.update_parameters(**settings)
    except (ValueError, TypeError, AssertionError) as error:
        raise UserError(f"hydra.launcher: {' '.join(str(error).split())}") from None
    return executor


def _reason(error: Exception) -> str:
    """The last error of sbatch, or the whole message."""
    lines = [line for line in str(error).splitlines() if line.startswith("sbatch: error: ")]
    return lines[-1] if lines else str(error)
