"""Optimizers that fail, for the tests of what a sweep makes of it; workers import them."""

import os
import signal

import torch


class Kills(torch.optim.SGD):
    """Its process is killed at each third step."""

    def step(self, closure=None):
        self.count = getattr(self, "count", 0) + 1
        if self.count == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(closure)


class Breaks(torch.optim.SGD):
    """Its first step meets a bug."""

    def step(self, closure=None):
        raise ZeroDivisionError("a bug of somebody's")
