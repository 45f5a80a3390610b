"""progress.json: the last recorded step of a run in progress, for readers in other processes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clr.files import write_json

PROGRESS_FILE = "progress.json"


@dataclass(frozen=True)
class RunProgress:
    """The last recorded step of a run."""

    step: int  # steps done
    steps: int  # steps of the whole run
    samples: int  # images seen
    loss: float  # NaN if the loss is not finite
    learning_rate: float
    seconds: float  # since the run began, without interruptions

    @property
    def images_per_second(self) -> float:
        return self.samples / self.seconds

    @property
    def remaining_seconds(self) -> float:
        return self.seconds / self.step * (self.steps - self.step)


def write_progress(folder: Path, record: dict[str, Any], steps: int) -> None:
    """Write progress.json: `record`, a row of the recorder's steps, and the number of all steps."""
    write_json({**record, "steps": steps}, folder / PROGRESS_FILE)


def read_progress(folder: Path) -> RunProgress | None:
    """Return the progress of the run in `folder`; None if it has not reported any."""
    try:
        stored = json.loads((folder / PROGRESS_FILE).read_text())
        return RunProgress(
            step=int(stored["step"]),
            steps=int(stored["steps"]),
            samples=int(stored["samples"]),
            loss=_number(stored["loss"]),
            learning_rate=_number(stored["learning_rate"]),
            seconds=float(stored["seconds"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _number(stored: float | None) -> float:
    return math.nan if stored is None else float(stored)
