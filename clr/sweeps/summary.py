"""Tables of a sweep: its plan before it starts, its results and its failures at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from rich.table import Table

from clr.runs.command import command
from clr.runs.store import Store
from clr.sweeps.estimate import Estimate, duration
from clr.sweeps.failure import Failure
from clr.sweeps.planned_run import PlannedRun

LOG_LINES = 5  # of a failed run's log


def plan_table(planned: Mapping[str, PlannedRun], store: Store) -> tuple[Table, list[str]]:
    """Return the table of a dry run, and the lines that sum it up.

    The time left assumes that runs are trained one after the other.
    """
    estimate = Estimate(store, planned)
    begun = {_readable_id(name) for name in store.names()}
    table = Table("run", "figures", "status", "time")
    counts = Counter(done=0, interrupted=0, todo=0, unknown=0)
    estimates: list[float | None] = []  # of the runs that are not done
    for name, run in planned.items():
        result = store.completed(name, run.cfg) if run.info is not None else None
        if result is not None:
            status, time = "done", duration(result["summary"]["seconds"])
        else:
            status = _status(name, run, store, begun)
            seconds = estimate.seconds(name)
            estimates.append(seconds)
            time = "?" if seconds is None else f"≈ {duration(seconds)}"
        counts[status] += 1
        table.add_row(_shown_id(name, run), _figures(run), status.replace("todo", "to do"), time)
    return table, list(_plan_lines(planned, counts, estimates))


def _status(name: str, run: PlannedRun, store: Store, begun: set[str]) -> str:
    """The status of a run that is not known to be done.

    `begun` has the readable part of the id of each run in the store.
    """
    if run.info is not None:
        # A finished run may lack the measurements that the sweep asks for.
        # A job that never started has a folder too.
        is_interrupted = store.has_checkpoint(name) and store.finished(name) is None
        return "interrupted" if is_interrupted else "todo"
    # The id is not known, but the store's folders begin with the readable part of it.
    return "unknown" if _readable_id(name) in begun else "todo"


def _plan_lines(
    planned: Mapping[str, PlannedRun], counts: Counter[str], estimates: list[float | None]
) -> Iterator[str]:
    line = f"{len(planned)} runs: {counts['done']} done, {counts['interrupted']} interrupted"
    line += f", {counts['todo']} to do"
    if counts["unknown"]:
        line += f", {counts['unknown']} unknown"
    yield line
    known = [seconds for seconds in estimates if seconds is not None]
    if known:
        yield f"about {duration(sum(known))} of training left, estimated from completed runs"
    if len(known) < len(estimates):
        yield f"{len(estimates) - len(known)} runs without an estimate: no comparable completed run"
    unprepared = dict.fromkeys(run.cfg.dataset.name for run in planned.values() if run.info is None)
    for name in unprepared:
        yield (
            f"{name} is not converted yet: the sweep itself does that, or scripts/prepare_data.py; "
            "the ids of its runs (…) are known afterwards"
        )


def result_table(
    planned: Mapping[str, PlannedRun], store: Store, failures: Mapping[str, Failure]
) -> Table:
    """Return the table of results; the column of figures is left out in a multirun."""
    has_figures = any(run.figures for run in planned.values())
    columns = ["run", *(["figures"] if has_figures else []), "status"]
    table = Table(*columns, "steps", "training loss", "test accuracy", "seconds")
    for name, run in planned.items():
        row = [name, *([_figures(run)] if has_figures else [])]
        result = store.completed(name, run.cfg)
        if result is None:
            table.add_row(*row, "failed" if name in failures else "not completed")
            continue
        summary = result["summary"]
        table.add_row(
            *row,
            result["status"],
            str(summary["steps"]),
            number(summary["final_train_loss"], ".4g"),
            number(summary["final_test_accuracy"], ".1%"),
            number(summary["seconds"], ".0f"),
        )
    return table


def failure_report(
    planned: Mapping[str, PlannedRun], store: Store, failures: Mapping[str, Failure]
) -> Iterator[str]:
    """Yield for each failed run the reason, the end of its log and the command that reruns it."""
    for name, failure in failures.items():
        yield f"{name} failed: {failure.message}"
        try:
            log = (store.folder(name) / "log.txt").read_text(errors="replace").splitlines()
        except OSError:
            log = []
        yield from (f"    | {line}" for line in log[-LOG_LINES:])
        yield f"    run it alone: {command(asdict(planned[name].cfg), local=True)}"


def number(value: float | None, spec: str) -> str:
    """Format a number of a result; "nan" for a mean that does not exist."""
    return "nan" if value is None else format(value, spec)


def _shown_id(name: str, run: PlannedRun) -> str:
    return name if run.info is not None else f"{_readable_id(name)}-…"


def _readable_id(name: str) -> str:
    """The id without its hash."""
    return name.rpartition("-")[0]


def _figures(run: PlannedRun) -> str:
    return ",".join(sorted(run.figures))
