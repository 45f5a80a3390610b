"""Progress of one run, as a bar on the terminal and as progress.json in its folder."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from clr.runs.progress_file import write_progress


class Progress:
    """Steps done, loss, learning rate, img/s and time left.

    Args:
        name: label of the bar.
        steps: steps of the whole run.
        folder: the run's folder, for progress.json; None on ranks that show and write nothing.
        show_bar: draw the bar if standard error is a terminal.
    """

    FILE_SECONDS = 2.0  # between two writes, because the folder may be on a cluster's file server

    def __init__(self, name: str, steps: int, folder: Path | None, show_bar: bool) -> None:
        self._folder, self._steps = folder, steps
        self._last_write = -self.FILE_SECONDS
        fields = "loss {task.fields[loss]:.4g}  lr {task.fields[rate]:.3g}"
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn(f"{fields}  {{task.fields[speed]:.0f}} img/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not (show_bar and folder is not None and sys.stderr.isatty()),
        )
        nan = float("nan")
        self._task = self._bar.add_task(name, total=steps, loss=nan, rate=nan, speed=0.0)

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

    def update(self, record: dict[str, Any]) -> None:
        """Show the last step, whose row in the records is `record`."""
        self._bar.update(
            self._task,
            completed=record["step"],
            loss=record["loss"],
            rate=record["learning_rate"],
            speed=record["samples"] / record["seconds"],
        )
        if self._folder is not None and monotonic() - self._last_write > self.FILE_SECONDS:
            write_progress(self._folder, record, self._steps)
            self._last_write = monotonic()
