"""How far one run is: on the terminal, and in its folder for who watches from elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from clr.files import write_text


class Progress:
    """Steps done, loss, learning rate, img/s and time left, on standard error where that is a terminal.

    `folder`/progress.json has the last step's record as well, and `steps`, the number of all steps.
    """

    FILE_SECONDS = 2.0  # between two writings: the folder may lie on a cluster's file server

    def __init__(self, name: str, steps: int, enabled: bool, folder: Path | None) -> None:
        self._folder, self._steps = folder, steps
        self._written = -self.FILE_SECONDS
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn(
                "loss {task.fields[loss]:.4g}  lr {task.fields[rate]:.3g}  {task.fields[speed]:.0f} img/s"
            ),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not (enabled and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task(
            name, total=steps, loss=float("nan"), rate=float("nan"), speed=0.0
        )

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, row: dict[str, Any]) -> None:
        """`row`: the last step's record."""
        self._bar.update(
            self._task,
            completed=row["step"],
            loss=row["loss"],
            rate=row["learning_rate"],
            speed=row["samples"] / row["seconds"],
        )
        if self._folder is not None and monotonic() - self._written > self.FILE_SECONDS:
            write_text(json.dumps({**row, "steps": self._steps}), self._folder / "progress.json")
            self._written = monotonic()
