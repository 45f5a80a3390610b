"""Optimizers that fail during training; the workers of a sweep import them."""

import os
import signal
import time
from pathlib import Path

import torch


class KillsItsProcess(torch.optim.SGD):
    """The process is killed in the first step of training, before it reports that the run advanced.

    The trial step of a layer of two units does nothing.
    """

    def step(self, closure=None):
        if sum(p.numel() for p in self.param_groups[0]["params"]) > 100:
            os.kill(os.getpid(), signal.SIGKILL)


class Raises(torch.optim.SGD):
    """The first step raises."""

    def step(self, closure=None):
        raise ZeroDivisionError("an optimizer's bug")


def die_slowly(store, name, patience):
    """In place of clr.sweeps.job.train_run: first the process closes its files, then it dies.

    So does a killed process with much memory, on a machine under load.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.closerange(3, 256)
    time.sleep(2)
    os.kill(os.getpid(), signal.SIGKILL)


def leave_a_file(store, name, patience):
    """In place of clr.sweeps.job.train_run."""
    Path(store, name).touch()
