"""Runs as jobs of submitit, on SLURM or, to try the same path, on this host; the only module that knows submitit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from clr import slurm
from clr.errors import CONTINUE, Busy, Stopped, UserError
from clr.files import write_text
from clr.runs.store import LEASE_SECONDS, Store
from clr.sweeps.job import Failure, make_run


class RunJob:
    """What each task of a job calls. A job that SLURM starts again calls it again, and finds its run by its name."""

    def __init__(self, root: str, name: str) -> None:
        self.root, self.name = root, name

    def __call__(self) -> None:
        here = submitit.JobEnvironment()
        if here.cluster == "local" and here.num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        try:
            # A job whose node failed has left a lock that nobody renews.
            make_run(self.root, self.name, patience=2 * LEASE_SECONDS)
        except Busy:
            return
        except Stopped as stop:
            # TERM: by scancel, or before a preemption, after which SLURM itself requeues what it may.
            if stop.signal == "SIGTERM":
                sys.exit(CONTINUE)
            # submitit's own handler is back: it requeues, a bounded number of times.
            os.kill(os.getpid(), signal.SIGUSR2)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit submits again when the time is up: the same, for the run's state is in its own checkpoint."""
        return submitit.helpers.DelayedSubmission(self)


class Cluster:
    """Runs as jobs of a submitit executor, at most `limit` that wait or run; see launch.Backend."""

    def __init__(self, store: str, executor: submitit.Executor, limit: int) -> None:
        self._store, self._executor, self._limit = Store(store), executor, limit
        self._jobs: dict[str, submitit.Job[None]] = {}

    def free_slots(self) -> int:
        return self._limit - len(self._jobs)

    def start(self, names: list[str]) -> None:
        try:
            with slurm.outside_of_jobs():
                jobs = self._executor.submit_array(
                    [RunJob(str(self._store.root), name) for name in names]
                )
        except (FailedJobError, FailedSubmissionError) as error:
            reasons = [
                line for line in str(error).splitlines() if line.startswith("sbatch: error: ")
            ]
            raise UserError(
                f"SLURM takes no such job: {(reasons or [str(error)])[-1]}; mend hydra.launcher (see docs/cluster.md)"
            ) from None
        for name, job in zip(names, jobs, strict=True):
            self._jobs[name] = job
            write_text(json.dumps({"job": job.job_id}), self._store.folder(name) / "job.json")

    def recover(self, names: Iterable[str]) -> set[str]:
        return set()

    def poll_finished(self) -> list[tuple[str, Failure | None]]:
        over = [name for name, job in self._jobs.items() if job.done()]
        for name in over:
            del self._jobs[name]
        return [(name, None) for name in over]

    def close(self) -> None:
        for job in self._jobs.values():
            job.cancel(check=False)


class SlurmCluster(Cluster):
    """Jobs in SLURM's queue. They outlive the sweep that submitted them; the next one finds them there."""

    def __init__(self, store: str, executor: submitit.Executor, poll_seconds: float) -> None:
        super().__init__(store, executor, limit=sys.maxsize)
        self._poll_seconds = poll_seconds
        self._asked = monotonic()

    def recover(self, names: Iterable[str]) -> set[str]:
        states = slurm.job_states() or {}
        for name in names:
            try:
                job = json.loads((self._store.folder(name) / "job.json").read_text())["job"]
            except (OSError, ValueError):
                continue
            if not slurm.is_over(states.get(job)):
                self._jobs[name] = submitit.SlurmJob(self._executor.folder, job)
        return set(self._jobs)

    def poll_finished(self) -> list[tuple[str, Failure | None]]:
        if monotonic() - self._asked < self._poll_seconds:
            return []
        self._asked = monotonic()
        if (states := slurm.job_states()) is None:
            return []
        over = [(name, states.get(job.job_id)) for name, job in self._jobs.items()]
        ended = [(name, self._failure(name, state)) for name, state in over if slurm.is_over(state)]
        for name, _ in ended:
            del self._jobs[name]
        return ended

    def _failure(self, name: str, state: str | None) -> Failure | None:
        """For the case that the run is not finished and has said nothing."""
        log = self._jobs[name].paths.stderr
        return Failure(
            f"SLURM ended its job: {state or 'unknown'}; see {log}", final=state == "CANCELLED"
        )

    def close(self) -> None:
        """The jobs stay in the queue."""


def local_jobs(store: str, limit: int, parameters: dict[str, Any]) -> Cluster:
    return Cluster(store, _executor(store, "local", 0, parameters), limit)


def slurm_jobs(
    store: str, poll_seconds: float, max_requeues: int, parameters: dict[str, Any]
) -> SlurmCluster:
    if shutil.which("sbatch") is None:
        raise UserError("there is no SLURM on this host (no sbatch); choose hydra/launcher=workers")
    return SlurmCluster(store, _executor(store, "slurm", max_requeues, parameters), poll_seconds)


def _executor(
    store: str, cluster: str, max_requeues: int, parameters: dict[str, Any]
) -> submitit.Executor:
    folder = Path(store) / ".submitit" / "%j"
    executor = submitit.AutoExecutor(
        folder, cluster=cluster, **{f"{cluster}_max_num_timeout": max_requeues}
    )
    try:
        executor.update_parameters(
            **{key: value for key, value in parameters.items() if value is not None}
        )
    except (ValueError, TypeError, AssertionError) as error:
        raise UserError(f"hydra.launcher: {' '.join(str(error).split())}") from None
    return executor
