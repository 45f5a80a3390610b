"""Optimizers that fail during training; the workers of a sweep import them."""

import os
import signal

import torch


class KillsItsProcess(torch.optim.SGD):
    """The process is killed in the third step."""

    def step(self, closure=None):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(closure)


class Raises(torch.optim.SGD):
    """The first step raises."""

    def step(self, closure=None):
        raise ZeroDivisionError("an optimizer's bug")
