"""Backend of `hydra/launcher=submitit_slurm`: runs as jobs in SLURM's queue."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import submitit

from clr import slurm
from clr.errors import UserError
from clr.sweeps.backends.submitit_base import JOB_FILE, SubmititBackend, make_executor
from clr.sweeps.failure import Failure


@dataclass(frozen=True)
class Queue:
    """Settings of the queue that are not sbatch's own."""

    poll_seconds: float  # between two calls of squeue
    max_requeues: int  # of a job that reached its time limit


class SlurmBackend(SubmititBackend):
    """Jobs in SLURM's queue. They outlive their sweep, and the next sweep finds them."""

    def __init__(self, store: str, executor: submitit.Executor, poll_seconds: float) -> None:
        super().__init__(store, executor, limit=sys.maxsize)
        self._poll_seconds = poll_seconds
        self._polled = monotonic()

    def recover(self, names: Iterable[str]) -> set[str]:
        states = slurm.job_states() or {}
        for name in names:
            try:
                job = json.loads((self._store.folder(name) / JOB_FILE).read_text())["job"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if not slurm.is_over(states.get(job)):
                self._jobs[name] = submitit.SlurmJob(self._executor.folder, job)
        return set(self._jobs)

    def poll_finished(self) -> list[tuple[str, Failure | None]]:
        if monotonic() - self._polled < self._poll_seconds:
            return []
        self._polled = monotonic()
        states = slurm.job_states()
        if states is None:
            return []
        finished: list[tuple[str, Failure | None]] = []
        for name, job in list(self._jobs.items()):
            state = states.get(job.job_id)
            if slurm.is_over(state):
                finished.append((name, job_failure(state, str(job.paths.stderr))))
                del self._jobs[name]
        return finished

    def close(self) -> None:
        """Leave the jobs in the queue."""


def job_failure(state: str | None, log: str) -> Failure:
    """Return the failure of a run whose job is over and which has neither finished nor reported.

    Args:
        state: the job's last state; None if SLURM does not know the job any more.
        log: path of what the job printed.
    """
    message = f"SLURM ended its job: {state or 'unknown'}; see {log}"
    return Failure(message, final=slurm.is_final(state))


def slurm_backend(store: str, queue: Queue, parameters: dict[str, Any]) -> SlurmBackend:
    """Return the backend; raises UserError on a host without SLURM or for a wrong parameter."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "SLURM is not installed on this host (sbatch not found); use hydra/launcher=workers"
        )
    if "%" in store:
        raise UserError(f"store={store}: SLURM replaces % in paths; choose a store without it")
    parameters = with_srun_cpus(parameters)
    return SlurmBackend(
        store, make_executor(store, "slurm", queue.max_requeues, parameters), queue.poll_seconds
    )


def with_srun_cpus(parameters: dict[str, Any]) -> dict[str, Any]:
    """Pass `cpus_per_task` to srun as well: since SLURM 22.05 srun does not inherit it from sbatch.

    Without it each task gets a single CPU. A value that is set in `slurm_srun_args` is kept.
    """
    cpus = parameters.get("cpus_per_task")
    srun_args = [str(argument) for argument in parameters.get("slurm_srun_args") or []]
    is_given = any(
        argument == "-c" or argument.startswith(("--cpus-per-task", "-c")) for argument in srun_args
    )
    if cpus is None or is_given:
        return parameters
    return {**parameters, "slurm_srun_args": [f"--cpus-per-task={cpus}", *srun_args]}
