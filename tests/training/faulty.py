"""Optimizers that fail, for the tests of sweeps and restarts; worker processes import them."""

import os
import signal

import torch


class Kills(torch.optim.SGD):
    """Kills its process at each third step."""

    def step(self, closure=None):
        self.count = getattr(self, "count", 0) + 1
        if self.count == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(closure)


class Breaks(torch.optim.SGD):
    """Raises an exception in its first step, as a bug would."""

    def step(self, closure=None):
        raise ZeroDivisionError("a bug of somebody's")


class FailsInFirstAttempt(torch.optim.SGD):
    """Raises on rank 1 until torchrun has restarted the ranks once."""

    def step(self, closure=None):
        if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            raise ZeroDivisionError("a fault that a restart removes")
        return super().step(closure)


class StepsByRank(torch.optim.SGD):
    """Takes a larger step on a rank with a higher number."""

    def step(self, closure=None):
        self.param_groups[0]["lr"] = 0.01 * (1 + int(os.environ["RANK"]))
        return super().step(closure)
