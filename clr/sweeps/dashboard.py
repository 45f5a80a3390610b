"""Live table of a sweep on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clr.runs.progress_file import RunProgress, read_progress
from clr.runs.store import Store
from clr.sweeps.estimate import Estimate, duration
from clr.sweeps.failure import Failure
from clr.sweeps.planned_run import PlannedRun, QueueState
from clr.sweeps.summary import number

MAX_ROWS = 20  # the height of a terminal
MAX_FAILURES = 5
REFRESH_SECONDS = 1.0  # a refresh reads one file of each run


@dataclass(frozen=True)
class _Row:
    cells: tuple[str, ...]
    running: bool
    seconds_left: float


class Dashboard:
    """Context with a live table of the runs that are not final; only on a terminal."""

    def __init__(
        self,
        planned: Mapping[str, PlannedRun],
        store: Store,
        states: Mapping[str, QueueState],
        console: Console,
    ) -> None:
        self._store, self._states = store, states
        self._estimate = Estimate(store, planned)
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, auto_refresh=False, transient=True)
        self._refreshed = 0.0

    def __enter__(self) -> Dashboard:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, failures: Mapping[str, Failure]) -> None:
        """Refresh the table if the last refresh is long enough ago."""
        if self._live is not None and monotonic() - self._refreshed > REFRESH_SECONDS:
            self._live.update(self.render(failures), refresh=True)
            self._refreshed = monotonic()

    def render(self, failures: Mapping[str, Failure]) -> Group:
        """Return the table of open runs, the last failures and a line of totals."""
        table = Table(
            "run", "status", "steps", "loss", "learning rate", "img/s", "time left", box=None
        )
        table.columns[0].overflow = "fold"  # the end of a name distinguishes runs
        rows = [
            self._row(name, state) for name, state in self._states.items() if not state.is_final
        ]
        rows.sort(key=lambda row: row.running, reverse=True)
        for row in rows[:MAX_ROWS]:
            table.add_row(*row.cells)
        hidden = len(rows) - MAX_ROWS
        parts: list[Table | Text] = [table]
        if hidden > 0:
            parts.append(Text(f"{hidden} more runs not shown"))
        for name, failure in list(failures.items())[-MAX_FAILURES:]:
            parts.append(Text(f"{name}: {failure.message}", style="red"))
        parts.append(Text(self._totals(rows, len(failures)), style="bold"))
        return Group(*parts)

    def _totals(self, rows: list[_Row], failed: int) -> str:
        complete = sum(state.is_complete for state in self._states.values())
        running = sum(row.running for row in rows)
        line = f"{complete} of {len(self._states)} runs completed, {running} running"
        line += f", {failed} failed"
        seconds_left = sum(row.seconds_left for row in rows)
        if seconds_left:
            line += f"; about {duration(seconds_left / max(running, 1))} left"
        return line

    def _row(self, name: str, state: QueueState) -> _Row:
        progress = read_progress(self._store.folder(name))
        if progress is None:
            status = "starting" if state is QueueState.QUEUED else state.value
            return _Row((name, status), False, self._estimate.seconds(name) or 0.0)
        status = "running" if state is QueueState.QUEUED else state.value
        return _running_row(name, status, progress)


def _running_row(name: str, status: str, progress: RunProgress) -> _Row:
    seconds_left = progress.remaining_seconds
    cells = (
        name,
        status,
        f"{progress.step}/{progress.steps}",
        number(progress.loss, ".4g"),
        number(progress.learning_rate, ".3g"),
        f"{progress.images_per_second:.0f}",
        duration(seconds_left),
    )
    return _Row(cells, True, seconds_left)
