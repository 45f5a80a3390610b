"""The progress bar of one run."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """Steps done, loss, learning rate, img/s and time left, on standard error where that is a terminal."""

    def __init__(self, name: str, steps: int, enabled: bool) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4g}  lr {task.fields[rate]:.3g}  {task.fields[speed]:.0f} img/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not (enabled and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task(name, total=steps, loss=float("nan"), rate=float("nan"), speed=0.0)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
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
