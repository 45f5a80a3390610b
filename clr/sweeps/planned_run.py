"""The planned runs of a sweep, and the states that they pass through."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from clr.config import TrainConfig
from clr.data import DatasetInfo
from clr.runs.tables import FigureTask


@dataclass
class PlannedRun:
    """A run that one or more figures, or a multirun, ask for."""

    cfg: TrainConfig
    info: DatasetInfo | None  # None: a dry run found that the data is not converted yet
    needs: set[FigureTask] = field(default_factory=set)  # empty for a run of a multirun

    @property
    def figures(self) -> set[str]:
        """The figures that need the run."""
        return {need.figure for need in self.needs}


class QueueState(Enum):
    """The state of a planned run, as the scheduler sees it."""

    WAITING = "waiting"  # for a free process
    QUEUED = "queued"  # given to the backend: in its queue, starting, or training
    ELSEWHERE = "elsewhere"  # another process holds the run's lock
    FINISHED = "finished"
    DIVERGED = "diverged"  # ended early, as a result: its loss is not finite
    FAILED = "failed"  # given up after its retries

    @property
    def is_final(self) -> bool:
        return self in (QueueState.FINISHED, QueueState.DIVERGED, QueueState.FAILED)

    @property
    def is_complete(self) -> bool:
        """True if the run has a result."""
        return self in (QueueState.FINISHED, QueueState.DIVERGED)
