"""Optimizers that fail during training; the workers of a sweep import them."""

import os
import signal

import torch


class KillsItsProcess(torch.optim.SGD):
    """The process is killed in the first step, before it can report that the run advanced."""

    def step(self, closure=None):
        os.kill(os.getpid(), signal.SIGKILL)


class Raises(torch.optim.SGD):
    """The first step raises."""

    def step(self, closure=None):
        raise ZeroDivisionError("an optimizer's bug")
