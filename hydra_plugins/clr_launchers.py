"""Hydra launchers of this project: warm workers, submitit on this host, submitit on SLURM.

Hydra searches this package for plugins. Each launcher composes the configs of all its runs at once
and stores them, so that editing YAML files does not change runs that wait in a queue.
"""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

# Hydra imports this file in every program: what imports torch is imported when it is needed.
if TYPE_CHECKING:
    from clr.config import TrainConfig
    from clr.sweeps.backends import Backend


class BackendLauncher(BasicLauncher):
    """Base of the launchers, which differ in their `backend`; see clr.sweeps.launcher."""

    def __init__(self, retries: int) -> None:
        super().__init__()
        self.retries = retries

    @abstractmethod
    def backend(self, store: str, runs: Sequence[TrainConfig]) -> Backend:
        """Return the backend that trains `runs` of `store`."""

    def check(self, **minimums: int) -> None:
        """Raise UserError unless the named keys are numbers of at least their minimum."""
        from clr.errors import UserError

        for key, minimum in {"retries": 0, **minimums}.items():
            value = getattr(self, key)
            types = (int, float) if key.endswith("_seconds") else (int,)
            if type(value) not in types:
                kind = "number" if float in types else "whole number"
                raise UserError(f"hydra.launcher.{key}={value} is not a {kind}; give one such as 1")
            if not value >= minimum:
                raise UserError(
                    f"hydra.launcher.{key}={value} is too small: it must be at least {minimum}"
                )

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            # All ranks of torchrun train one run after the other.
            return super().launch(job_overrides, initial_job_idx)
        from clr.sweeps.run_sweep import run_multirun

        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        composed = [
            loader.load_sweep_config(self.config, list(overrides)) for overrides in job_overrides
        ]
        for config in composed:
            OmegaConf.set_struct(config, False)
            del config["hydra"]
        failed = run_multirun(composed, self)
        if failed:
            sys.exit(f"{failed} of {len(composed)} runs failed")
        return []


class WorkersLauncher(BackendLauncher):
    """Warm processes on this host.

    Args:
        n_jobs: number of processes; None is one for each GPU. Without a GPU, None is the number
            that occupies all CPUs with the runs' `threads`, or one for runs without that key.
    """

    def __init__(self, n_jobs: int | None, retries: int) -> None:
        super().__init__(retries)
        self.n_jobs = n_jobs

    def backend(self, store: str, runs: Sequence[TrainConfig]) -> Backend:
        import torch

        from clr.cpus import available_cpus
        from clr.sweeps.backends.local import WorkerPool
        from clr.sweeps.devices import visible_gpus

        self.check(**({} if self.n_jobs is None else {"n_jobs": 1}))
        gpus = visible_gpus()
        cpus = min(torch.get_num_threads(), available_cpus())
        n_jobs = self.n_jobs or len(gpus) or _jobs_on_cpus(cpus, runs)
        return WorkerPool(store, n_jobs, threads=max(1, cpus // n_jobs), gpus=gpus)


def _jobs_on_cpus(cpus: int, runs: Sequence[TrainConfig]) -> int:
    """Number of runs at a time that occupies the CPUs; one takes all of them without `threads`."""
    threads = max(run.threads or cpus for run in runs)
    return min(len(runs), max(1, cpus // threads))


class SubmititLocal(BackendLauncher):
    """Jobs of submitit on this host, `n_jobs` at a time: a cluster's path without a cluster."""

    def __init__(self, n_jobs: int, retries: int, **parameters: Any) -> None:
        super().__init__(retries)
        self.n_jobs, self.parameters = n_jobs, parameters

    def backend(self, store: str, runs: Sequence[TrainConfig]) -> Backend:
        from clr.sweeps.backends.submitit_base import local_backend

        self.check(n_jobs=1)
        return local_backend(store, self.n_jobs, self.parameters)


class SubmititSlurm(BackendLauncher):
    """Jobs in SLURM's queue, submitted as one array."""

    def __init__(
        self, poll_seconds: float, max_requeues: int, retries: int, **parameters: Any
    ) -> None:
        super().__init__(retries)
        self.poll_seconds, self.max_requeues = poll_seconds, max_requeues
        self.parameters = parameters

    def backend(self, store: str, runs: Sequence[TrainConfig]) -> Backend:
        from clr.sweeps.backends.slurm import Queue, slurm_backend

        self.check(poll_seconds=0, max_requeues=0)
        return slurm_backend(store, Queue(self.poll_seconds, self.max_requeues), self.parameters)
