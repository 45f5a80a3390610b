"""Status of a completed run."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """How a run ended, as `status` in run.json and in the table `runs` says."""

    FINISHED = "finished"
    """All steps were taken."""
    DIVERGED = "diverged"
    """The loss of a step was not finite, and the run ended with that step."""
