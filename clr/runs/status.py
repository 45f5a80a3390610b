"""Status of a completed run, and the rule for divergence."""

from __future__ import annotations

import math
from enum import StrEnum


class RunStatus(StrEnum):
    """The value of `status` in run.json and in the table `runs`."""

    FINISHED = "finished"  # trained for all its epochs
    DIVERGED = "diverged"  # ended early, at the first step with a loss that is infinite or NaN


def is_divergent(loss: float) -> bool:
    """Return whether a training step with this loss ends the run as diverged."""
    return not math.isfinite(loss)
