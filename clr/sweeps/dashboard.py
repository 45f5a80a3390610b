"""What a sweep shows: the plan before, one live table meanwhile, the table of runs and the failures after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clr.runs.command import command
from clr.runs.store import Store
from clr.sweeps.job import Failure

if TYPE_CHECKING:
    from clr.sweeps.scheduler import Planned

ROWS = 20  # of runs that are going on: a terminal's height
LOG_LINES = 5


class Estimate:
    """How long runs take, from those of the store: of the same shape, else of the same model and data."""

    def __init__(self, store: Store, planned: Mapping[str, Planned]) -> None:
        self._seconds: dict[tuple[Any, ...], list[float]] = {}
        for done in store.all_finished():
            cfg = done["config"]
            images = done["summary"]["steps"] * cfg["batch_size"]
            shape = (cfg["dataset"]["name"], cfg["model"]["name"], cfg["precision"])
            for key in ((*shape, cfg["batch_size"]), shape):
                self._seconds.setdefault(key, []).append(
                    done["summary"]["seconds"] / max(images, 1)
                )
        self._planned = planned

    def __call__(self, name: str) -> float | None:
        """Seconds of the whole run; None if nothing like it was made yet."""
        cfg, info = self._planned[name].cfg, self._planned[name].info
        shape = (cfg.dataset.name, cfg.model.name, cfg.precision)
        images = cfg.epochs * (info.num_train // cfg.batch_size) * cfg.batch_size
        for key in ((*shape, cfg.batch_size), shape):
            if (known := self._seconds.get(key)) is not None:
                return images * sum(known) / len(known)
        return None


def plan_table(planned: Mapping[str, Planned], store: Store) -> tuple[Table, str]:
    """The runs as they stand, and a line on the time that is left if they are made one after the other."""
    estimate = Estimate(store, planned)
    table = Table("run", "figures", "status", "time")
    left, unknown, counts = 0.0, 0, {"done": 0, "broken": 0, "to do": 0}
    for name, run in planned.items():
        done = store.completed(name, run.cfg)
        status = "done" if done is not None else "broken" if store.begun(name) else "to do"
        counts[status] += 1
        seconds = done["summary"]["seconds"] if done is not None else estimate(name)
        if done is None:
            left, unknown = left + (seconds or 0), unknown + (seconds is None)
        told = "?" if seconds is None else f"{'' if done else '≈ '}{_duration(seconds)}"
        table.add_row(name, _figures(run), status, told)
    counted = ", ".join(f"{n} {status}" for status, n in counts.items())
    known = f"about {_duration(left)} of training is left, by the runs made so far"
    if unknown:
        known = f"nothing like {unknown} of them was made yet" + (
            f"; the others: {known}" if left else ""
        )
    return table, f"{len(planned)} runs: {counted}" + (
        f"; {known}" if counts["done"] < len(planned) else ""
    )


def result_table(
    planned: Mapping[str, Planned], store: Store, failures: Mapping[str, Failure]
) -> Table:
    for_figures = any(run.figures for run in planned.values())  # not those of a multirun
    columns = ["run", *(["figures"] if for_figures else []), "status"]
    table = Table(*columns, "steps", "training loss", "test accuracy", "seconds")
    for name, run in planned.items():
        row = [name, *([_figures(run)] if for_figures else [])]
        if (done := store.completed(name, run.cfg)) is not None:
            s = done["summary"]
            row += [done["status"], str(s["steps"]), f"{s['final_train_loss']:.4g}"]
            row += [f"{s['final_test_accuracy']:.1%}", f"{s['seconds']:.0f}"]
        else:
            row += ["failed" if name in failures else "not made"]
        table.add_row(*row)
    return table


def failure_report(
    planned: Mapping[str, Planned], store: Store, failures: Mapping[str, Failure]
) -> Iterable[str]:
    """For each run that failed why, the last lines of its log, and the command that repeats it alone."""
    for name, failure in failures.items():
        yield f"{name} failed: {failure.message}"
        try:
            lines = (
                (store.folder(name) / "log.txt")
                .read_text(errors="replace")
                .splitlines()[-LOG_LINES:]
            )
        except OSError:
            lines = []
        yield from (f"    | {line}" for line in lines)
        yield f"    alone: {command(asdict(planned[name].cfg), here=True)}"


class Overview:
    """While active, a table of the runs that are going on, on a terminal; elsewhere nothing."""

    def __init__(
        self,
        planned: Mapping[str, Planned],
        store: Store,
        states: Mapping[str, str],
        console: Console,
    ) -> None:
        self._planned, self._store, self._states = planned, store, states
        self._estimate = Estimate(store, planned)
        self._live = (
            Live(console=console, auto_refresh=False, transient=True)
            if console.is_terminal
            else None
        )
        self._shown = 0.0

    def __enter__(self) -> Overview:
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
        """Once a second at most, for it reads a file of each run."""
        if self._live is not None and monotonic() - self._shown > 1:
            self._live.update(self.render(failures), refresh=True)
            self._shown = monotonic()

    def render(self, failures: Mapping[str, Failure]) -> Group:
        table = Table(
            "run", "status", "steps", "loss", "learning rate", "img/s", "time left", box=None
        )
        table.columns[0].overflow = "fold"  # the end of a name tells runs apart
        left = 0.0
        rows: list[tuple[str, ...]] = []
        for name, state in self._states.items():
            if state in ("finished", "diverged", "failed"):
                continue
            at, seconds = self._progress(name), self._estimate(name) or 0.0
            if at is None:
                left += seconds
                rows.append((name, {"queued": "starting"}.get(state, state)))
                continue
            remaining = at["seconds"] / at["step"] * (at["steps"] - at["step"])
            left += remaining
            numbers = (
                f"{at['loss']:.4g}",
                f"{at['learning_rate']:.3g}",
                f"{at['samples'] / at['seconds']:.0f}",
            )
            status = "running" if state == "queued" else state
            rows.append(
                (name, status, f"{at['step']}/{at['steps']}", *numbers, _duration(remaining))
            )
        rows.sort(key=len, reverse=True)  # those that have something to tell first
        for row in rows[:ROWS]:
            table.add_row(*row)
        states = list(self._states.values())
        over = sum(state in ("finished", "diverged") for state in states)
        going = sum(len(row) > 2 for row in rows)
        told = f"{over} of {len(states)} runs finished, {going} running, {len(failures)} failed"
        told += f"; about {_duration(left / max(going, 1))} left" if left else ""
        more = f"{len(rows) - ROWS} more are waiting" if len(rows) > ROWS else ""
        lines = [
            Text(f"{name}: {failure.message}", style="red") for name, failure in failures.items()
        ]
        return Group(table, Text(more), *lines[-5:], Text(told, style="bold"))

    def _progress(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(
                (self._store.folder(name) / "progress.json").read_text()
            )
        except (OSError, ValueError):
            return None
        return found


def _figures(run: Planned) -> str:
    return ",".join(sorted(run.figures))


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
