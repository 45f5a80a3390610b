"""Hydra's launchers for this project: warm workers, submitit on this host, submitit on SLURM.

Hydra looks for plugins in this package. Each launcher composes all its jobs at once, in this process: a job reads the
resolved config that the store holds, so that editing YAML does not change what waits in a queue.
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

if TYPE_CHECKING:
    from clr.sweeps.scheduler import Backend


class Launcher(BasicLauncher):
    """What the three share; `backend` is where they differ."""

    def __init__(self, retries: int) -> None:
        super().__init__()
        self.retries = retries

    @abstractmethod
    def backend(self, store: str) -> Backend:
        """What makes the runs of `store`."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            return super().launch(
                job_overrides, initial_job_idx
            )  # torchrun's ranks make one run after the other
        from clr.sweeps.plan import run_multirun

        assert self.hydra_context is not None and self.config is not None
        loader = self.hydra_context.config_loader
        composed = [
            loader.load_sweep_config(self.config, list(overrides)) for overrides in job_overrides
        ]
        for config in composed:
            OmegaConf.set_struct(config, False)
            del config["hydra"]
        if failed := run_multirun(composed, self):
            sys.exit(f"{failed} of {len(composed)} runs failed")
        return []


class Workers(Launcher):
    """Processes on this host, which stay warm: `n_jobs` of them, null is one for each GPU, or one."""

    def __init__(self, n_jobs: int | None, retries: int) -> None:
        super().__init__(retries)
        self.n_jobs = n_jobs

    def backend(self, store: str) -> Backend:
        import torch

        from clr.sweeps.backends.local import WorkerPool

        gpus = torch.cuda.device_count()
        n_jobs = self.n_jobs or max(gpus, 1)
        return WorkerPool(
            store, n_jobs, threads=max(1, torch.get_num_threads() // n_jobs), gpus=gpus
        )


class SubmititLocal(Launcher):
    """Jobs of submitit on this host, `n_jobs` at a time: the cluster's path without a cluster."""

    def __init__(self, n_jobs: int, retries: int, **parameters: Any) -> None:
        super().__init__(retries)
        self.n_jobs, self.parameters = n_jobs, parameters

    def backend(self, store: str) -> Backend:
        from clr.sweeps.backends.submitit_jobs import local_jobs

        return local_jobs(store, self.n_jobs, self.parameters)


class SubmititSlurm(Launcher):
    """Jobs in SLURM's queue, as one array."""

    def __init__(
        self, poll_seconds: float, max_requeues: int, retries: int, **parameters: Any
    ) -> None:
        super().__init__(retries)
        self.poll_seconds, self.max_requeues, self.parameters = (
            poll_seconds,
            max_requeues,
            parameters,
        )

    def backend(self, store: str) -> Backend:
        from clr.sweeps.backends.submitit_jobs import slurm_jobs

        return slurm_jobs(store, self.poll_seconds, self.max_requeues, self.parameters)
