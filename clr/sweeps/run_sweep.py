"""Execution of sweeps and multiruns: plan, train what is missing, update the tables, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from clr.data import find_prepared, prepare_once
from clr.errors import UserError
from clr.runs.export import WantedRuns, check_writable, irreplaceable, update_tables
from clr.runs.merge import import_runs
from clr.runs.store import Store
from clr.runs.tables import read_records
from clr.sweeps.config import SweepConfig, checked_sweep
from clr.sweeps.failure import Failure
from clr.sweeps.launcher import Launcher
from clr.sweeps.overrides import own_grids
from clr.sweeps.plan import plan_multirun, plan_sweep
from clr.sweeps.planned_run import PlannedRun
from clr.sweeps.scheduler import Scheduler
from clr.sweeps.summary import failure_report, plan_table, result_table


def run_sweep(composed: DictConfig, launcher: Launcher) -> int:
    """Train the runs that the store lacks, update the tables, and return the number of failures.

    Args:
        composed: configs/sweep.yaml, composed by Hydra.
        launcher: the instance of `hydra.launcher`.
    """
    sweep = checked_sweep(composed)
    protocol: dict[str, Any] = OmegaConf.to_container(composed.protocol, resolve=True)  # type: ignore[assignment]
    if grids := own_grids(sweep):
        protocol["methods"] = grids  # the analysis needs them, and the configs may change
    store, folder = Store(sweep.store), Path(sweep.results) / sweep.protocol.name
    console = _console()
    if sweep.dry_run:
        _dry_run(sweep, store, folder, console)
        return 0
    if sweep.import_results:
        _print(console, f"{import_runs(folder, store)} runs imported from {folder}")
    check_writable(folder)  # before the training rather than after it
    planned = plan_sweep(sweep, prepare_once)
    wanted = _wanted(planned, protocol)
    if figures := irreplaceable(wanted, folder):
        _print(
            console,
            f"figure {','.join(figures)}: the tables in {folder} hold more or longer runs and will "
            "be kept; choose results=FOLDER for tables of this sweep",
        )
    try:
        failures = _train_missing(planned, store, launcher, console)
    finally:
        kept_figures = update_tables(store, wanted, folder)
        if kept_figures:
            names = ",".join(kept_figures)
            _print(
                console,
                f"figure {names}: the tables in {folder} keep the runs that they had, "
                "because those of this sweep are fewer, shorter or incomplete",
            )
    _print(console, f"tables in {folder}")
    return len(failures)


def run_multirun(composed: list[DictConfig], launcher: Launcher) -> int:
    """Train the runs of Hydra's multirun of train.py; return the number of failures."""
    if any("protocol" in config for config in composed):
        raise UserError("sweep.py has no --multirun: it trains many runs already; leave it out")
    folder, planned = plan_multirun(composed, prepare_once)
    return len(_train_missing(planned, Store(folder), launcher, _console()))


def _dry_run(sweep: SweepConfig, store: Store, folder: Path, console: Console) -> None:
    """Print what the sweep would do; nothing is written, converted or downloaded."""
    if sweep.import_results:
        records = read_records(folder)
        missing = sum(store.finished(record["run_id"]) is None for record in records)
        _print(console, f"{missing} runs would be imported from {folder}")
    table, lines = plan_table(plan_sweep(sweep, find_prepared), store)
    console.print(table)
    for line in lines:
        _print(console, line)


def _train_missing(
    planned: dict[str, PlannedRun], store: Store, launcher: Launcher, console: Console
) -> dict[str, Failure]:
    """Train the runs that are not completed and print the results; return the failures."""
    missing = [run.cfg for name, run in planned.items() if store.completed(name, run.cfg) is None]
    _print(console, f"{len(planned)} runs, {len(planned) - len(missing)} completed before")
    failures: dict[str, Failure] = {}
    if missing:
        backend = launcher.backend(str(store.root), missing)
        failures = Scheduler(planned, store, backend, launcher.retries, console).run()
    console.print(result_table(planned, store, failures))
    for line in failure_report(planned, store, failures):
        _print(console, line)
    _print(console, f"failed runs: {len(failures)}")
    return failures


def _wanted(planned: dict[str, PlannedRun], protocol: dict[str, Any]) -> WantedRuns:
    images = {
        name: run.cfg.epochs * run.info.num_train
        for name, run in planned.items()
        if run.info is not None
    }
    return WantedRuns({name: run.needs for name, run in planned.items()}, images, protocol)


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 130)
